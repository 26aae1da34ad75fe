// How far `rec` or `hier-parallel` drifts from the training forward behind an exact prefix: both read the same text,
// and what they predict for each token is compared, by the token's distance from the prefix.
//
// One pass, in segments, of a few sequences at a time: memory grows neither with their number nor, beside the caches of
// both, with the length.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "inference/generate_options.h"
#include "model/language_model.h"

namespace photon::eval {

// Two predictions of one token; natural logarithms.
struct Comparison {
  double exact_log_likelihood, other_log_likelihood;  // of the token that stands there
  bool agree;                                         // whether both find the same token the most likely one
  double divergence;                                  // KL(exact || other) over the whole vocabulary
};
// Of two rows of logits, in f64. Minus infinity: a token that is never written.
Comparison Compare(absl::Span<const double> exact, absl::Span<const double> other, int32_t token);

// Means over the tokens at distances [from, to] from the prefix; the first token behind it is at distance 1.
struct Stretch {
  int64_t from = 0, to = 0;
  int64_t tokens = 0;  // of all sequences
  double exact_log_likelihood = 0, other_log_likelihood = 0, agreement = 0, divergence = 0;
};

struct Drift {
  std::vector<Stretch> buckets;  // 1-16, 17-64, 65-256, ..: ends are powers of 4, the last one is cut
  std::vector<Stretch> lengths;  // from 1 to each length that was asked for
};

// Adds up what Drift shows.
class DriftTally {
 public:
  explicit DriftTally(absl::Span<const int64_t> lengths);  // ascending, not empty
  void Add(int64_t distance, const Comparison& comparison);
  Drift Means() const;

 private:
  Drift sums_;
};

struct DriftOptions {
  GenerationMode mode = GenerationMode::kRec;  // of the other; kHier compares the training forward with itself
  int64_t prefix = 0;                          // tokens that both read exactly; a multiple of C_<=L
  std::vector<int64_t> lengths = {};           // behind the prefix, ascending
};

// Of sequences that hold options.prefix + options.lengths.back() tokens each. `progress` hears how many tokens of all
// were read. kInvalidArgument as ValidateScoring of score.h, and for ids outside the vocabulary;
// kDataLoss where the model gives no numbers.
absl::StatusOr<Drift> MeasureDrift(const Context& context, const LanguageModel& model,
                                   absl::Span<const std::vector<int32_t>> sequences, const DriftOptions& options,
                                   const std::function<void(int64_t tokens)>& progress = nullptr);

}  // namespace photon::eval
