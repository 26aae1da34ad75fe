// Log-likelihood of given tokens.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "inference/generate_options.h"
#include "model/language_model.h"

namespace photon {

struct ScoreOptions {
  // kHier: the training forward. kHierParallel: all tokens before a meta-context are read exactly; inside it decoders
  // above the tokens are fed their own outputs. kRec: the first `exact_prefix` tokens are read exactly, then the states
  // advance by rec and the tokens are forced. At L <= 1 all are the training forward.
  GenerationMode mode = GenerationMode::kHier;
  int64_t exact_prefix = 0;       // a multiple of C_<=L
  int64_t segment_tokens = 2048;  // read at a time, of all sequences together; rounded up to meta-contexts
};

// kInvalidArgument naming the option: another mode than hier where the model has shift ALL, a prefix that is no
// multiple of C_<=L (with the nearest ones).
absl::Status ValidateScoring(const ScoreOptions& options, const ModelConfig& config);

// Natural-log probabilities of tokens 2..T of a sequence, each given all before it: T - 1 values. Any length, beyond
// the training length too: what grows with it is the caches (docs/generation.md, memory). `progress` is told how many
// tokens have been read. kInvalidArgument for no tokens, ids outside the vocabulary, and as ValidateScoring; kDataLoss,
// naming the token, where the model gives no finite number.
using ScoreProgress = std::function<void(int64_t tokens)>;
absl::StatusOr<std::vector<double>> ScoreTokens(const Context& context, const LanguageModel& model,
                                                absl::Span<const int32_t> tokens, const ScoreOptions& options = {},
                                                const ScoreProgress& progress = nullptr);

// Of the scored tokens of a sequence.
struct SequenceScores {
  std::vector<double> log_probabilities;
  std::vector<bool> most_likely;  // whether greedy decoding would choose it: of equals, the lowest id
};

// A sequence whose tokens from `from` on are to be scored; those before are context, and cost less.
struct ScoreRequest {
  absl::Span<const int32_t> tokens;
  int64_t from = 1;
};

// Several sequences at once, each padded to the longest: their results, in order, of T - from values each. They differ
// from those of a sequence alone by rounding at most.
absl::StatusOr<std::vector<SequenceScores>> ScoreBatch(const Context& context, const LanguageModel& model,
                                                       absl::Span<const ScoreRequest> requests,
                                                       const ScoreOptions& options = {},
                                                       const ScoreProgress& progress = nullptr);
// Tokens 2..T of each.
absl::StatusOr<std::vector<SequenceScores>> ScoreBatch(const Context& context, const LanguageModel& model,
                                                       absl::Span<const std::vector<int32_t>> sequences,
                                                       const ScoreOptions& options = {},
                                                       const ScoreProgress& progress = nullptr);

}  // namespace photon
