// What a study finds out about a trained model: its loss, and how many tokens it writes a second and GiB, in each mode
// of generation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/device.h"
#include "core/token_batch.h"
#include "inference/loaded_model.h"
#include "inference/protocol/protocol.h"

namespace photon::study {

// The documents of validation sequences, cut as the sequences cut them: each is read from an empty state, as in
// training. Padding and pieces of one token, which are not scored, are left out.
std::vector<std::vector<int32_t>> ScoredPieces(const TokenBatch& batch);

// Mean nats per token, first tokens left out, as the modes of inference/score.h score them; in rec the first
// `exact_prefix` tokens of each piece are read exactly. Errors as ScoreBatch.
absl::StatusOr<double> ModeLoss(const LoadedModel& loaded, GenerationMode mode,
                                const std::vector<std::vector<int32_t>>& pieces, int64_t exact_prefix);

// Bytes of text that the scored tokens of the pieces stand for: all but the first of each; control pieces none.
int64_t ScoredBytes(const Tokenizer& tokenizer, const std::vector<std::vector<int32_t>>& pieces);

struct Speed {
  double tokens_per_s = 0;
  double bytes_per_sequence = 0;
  double tpm = 0;  // thousands of tokens a second and GiB
  // The time of the slowest try over that of the fastest, whose figures these are: other work on the machine.
  double disturbance = 1;
};

// Tries of each speed.
constexpr int kSpeedTries = 3;

// The paper's decode-heavy shape, scaled down: `tokens` behind a sixteenth as many. Speed at `batch` sequences, memory
// of one by the difference to a single one. Errors as Protocol::Run.
absl::StatusOr<Speed> MeasureSpeed(Protocol& protocol, const LanguageModel& model, GenerationMode mode, int64_t tokens,
                                   int64_t batch);

}  // namespace photon::study
