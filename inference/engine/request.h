// A request to the engine, and who is told what becomes of it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "inference/generate_options.h"
#include "inference/sequence.h"

namespace photon {

struct EngineRequest {
  std::vector<int32_t> prompt;
  // `continuations` are sampled from one reading of the prompt; their number is part of no continuation's tokens.
  GenerateOptions options;
  absl::Time deadline = absl::InfiniteFuture();  // of SteadyNow(): ended with kDeadlineExceeded, waiting or running
};

// Called on the thread that calls Engine::Step (and, for OnEnd of what never ran, Engine::Shutdown), in the order of
// events. To return quickly: everyone's tokens wait meanwhile. May call Engine::Submit and Engine::Cancel.
class RequestListener {
 public:
  virtual ~RequestListener() = default;

  // The prompt's reading begins. `reused`: so many of its tokens were read for an earlier request.
  virtual void OnStart(int64_t reused) {}
  // New tokens of a continuation, and the text that may be shown now: a token of hier, a meta-context of the
  // other modes. Either may be empty, not both. `choices`: one a token where log-probabilities were asked for, or none.
  virtual void OnTokens(int64_t continuation, absl::Span<const int32_t> tokens, absl::Span<const Choice> choices,
                        absl::string_view text) = 0;
  // A continuation is at its end; its last tokens have been told.
  virtual void OnFinish(int64_t continuation, const Continuation& result) = 0;
  // The last call. OK where all continuations finished; kCancelled, kDeadlineExceeded, kDataLoss (the model's logits
  // are no numbers), kUnavailable (the engine shuts down).
  virtual void OnEnd(const absl::Status& status) = 0;
};

}  // namespace photon
