#include "inference/selection.h"

#include <re2/re2.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace photon {

double SumLogProbability(const Continuation& continuation) {
  double sum = 0;
  for (const Choice& choice : continuation.choices) sum += choice.log_probability;
  return sum;
}

double MeanLogProbability(const Continuation& continuation) {
  if (continuation.choices.empty()) return -std::numeric_limits<double>::infinity();
  return SumLogProbability(continuation) / static_cast<double>(continuation.choices.size());
}

std::vector<int64_t> BestOf(absl::Span<const Continuation> continuations, int64_t count) {
  std::vector<int64_t> order(continuations.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return MeanLogProbability(continuations[a]) > MeanLogProbability(continuations[b]);
  });
  order.resize(std::min<size_t>(order.size(), count));
  return order;
}

absl::StatusOr<AnswerPattern> AnswerPattern::Compile(const std::string& pattern) {
  if (pattern.empty()) return absl::InvalidArgumentError("is empty: give a regular expression");
  RE2::Options quiet;
  quiet.set_log_errors(false);
  const auto compiled = std::make_shared<const RE2>(pattern, quiet);
  if (compiled->ok()) return AnswerPattern(compiled);
  return absl::InvalidArgumentError(
      absl::StrCat("\"", pattern, "\" is no regular expression (RE2's syntax): ", compiled->error()));
}

bool AnswerPattern::Find(const std::string& text, std::string* answer) const {
  const int group = std::min(pattern_->NumberOfCapturingGroups(), 1);
  re2::StringPiece found[2];
  bool any = false;
  for (size_t at = 0; at <= text.size() && pattern_->Match(text, at, text.size(), RE2::UNANCHORED, found, group + 1);) {
    any = true;
    *answer = std::string(found[group]);
    // An empty match moves on by a byte, else it would be found for ever.
    const size_t end = found[0].data() - text.data() + found[0].size();
    at = std::max(end, at + 1);
  }
  return any;
}

Vote MajorityVote(absl::Span<const Continuation> continuations, const AnswerPattern& pattern) {
  std::map<std::string, Vote> by_answer;
  const std::vector<int64_t> order = BestOf(continuations, static_cast<int64_t>(continuations.size()));
  Vote winner = {.continuation = order.empty() ? 0 : order.front()};
  std::vector<const Vote*> best_first;
  for (const int64_t i : order) {
    std::string answer;
    if (!pattern.Find(continuations[i].text, &answer)) continue;
    const auto [vote, fresh] = by_answer.try_emplace(answer, Vote{.answer = answer, .continuation = i});
    ++vote->second.votes;
    if (fresh) best_first.push_back(&vote->second);
  }
  int64_t answers = 0;
  for (const Vote* vote : best_first) {
    answers += vote->votes;
    if (vote->votes > winner.votes) winner = *vote;
  }
  winner.answers = answers;
  return winner;
}

std::vector<int64_t> Select(absl::Span<const Continuation> continuations, int64_t count,
                            const std::optional<AnswerPattern>& pattern, std::optional<Vote>* vote) {
  if (pattern.has_value()) {
    *vote = MajorityVote(continuations, *pattern);
    return {(*vote)->continuation};
  }
  if (count < static_cast<int64_t>(continuations.size())) return BestOf(continuations, count);
  std::vector<int64_t> every(continuations.size());
  std::iota(every.begin(), every.end(), 0);
  return every;
}

}  // namespace photon
