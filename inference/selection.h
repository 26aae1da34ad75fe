// Of many continuations of one prompt those worth showing: the most likely ones, or the answer that most agree on
// (multi-query integration; self-consistency, Wang et al. 2022).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "inference/sequence.h"

namespace re2 {
class RE2;
}

namespace photon {

// Of its tokens, under the model itself; the mean of none is minus infinity. The continuation holds choices
// (GenerateOptions.log_probabilities >= 0).
double SumLogProbability(const Continuation& continuation);
double MeanLogProbability(const Continuation& continuation);

// Indices of the `count` best by that mean, the best first; of equals the lowest.
std::vector<int64_t> BestOf(absl::Span<const Continuation> continuations, int64_t count);

// What finds the answer in a text: the last match of a regular expression (RE2's syntax; each match takes linear time),
// of its first group where it has one.
class AnswerPattern {
 public:
  // kInvalidArgument with what RE2 says.
  static absl::StatusOr<AnswerPattern> Compile(const std::string& pattern);
  // False where there is no answer.
  bool Find(const std::string& text, std::string* answer) const;

 private:
  explicit AnswerPattern(std::shared_ptr<const re2::RE2> pattern) : pattern_(std::move(pattern)) {}
  std::shared_ptr<const re2::RE2> pattern_;
};

struct Vote {
  std::string answer;        // empty, with no votes, where no text held one
  int64_t votes = 0;         // for it
  int64_t answers = 0;       // texts that held one
  int64_t continuation = 0;  // the best one, by mean log-probability, of those that gave it; else of all
};

// The answer that most texts give; of equals the one whose best continuation is better.
Vote MajorityVote(absl::Span<const Continuation> continuations, const AnswerPattern& pattern);

// Indices of those to show. With a pattern the vote's one, and `vote` receives the vote; else the `count` best, or all
// in their order where no more are wanted.
std::vector<int64_t> Select(absl::Span<const Continuation> continuations, int64_t count,
                            const std::optional<AnswerPattern>& pattern, std::optional<Vote>* vote);

}  // namespace photon
