// Asks a model: requests of any lengths, in batches of like length.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "inference/eval/encode_request.h"
#include "inference/eval/metrics.h"
#include "inference/score.h"

namespace photon::eval {

struct AnswerOptions {
  GenerationMode mode = GenerationMode::kHier;
  // With kRec: so many tokens of each request are read exactly; -1: all whole meta-contexts before the first token that
  // is scored, as a prompt is read before rec writes.
  int64_t exact_prefix = -1;
  int64_t batch_tokens = 2048;  // requests that hold so many together are scored at once
};

// Answers, in order. `progress` hears how many requests are done. Errors are ScoreBatch's, and name the request.
absl::StatusOr<std::vector<Answer>> AnswerRequests(const Context& context, const LanguageModel& model,
                                                   absl::Span<const TokenRequest> requests,
                                                   const AnswerOptions& options,
                                                   const std::function<void(int64_t done)>& progress = nullptr);

}  // namespace photon::eval
