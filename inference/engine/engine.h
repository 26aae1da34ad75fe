// Many requests on one model at once: continuous batching for every generation mode, flat models too.
//
// Step by step: requests are admitted while their states surely fit, prompts are read in slices, and whoever runs goes
// forward together: token by token to the next chunk border (hier, flat models), or by a meta-context (hier-parallel,
// rec). Sequences join and leave at those borders. What a request gets depends on the request alone, not on what runs
// beside it: choices are keyed by (seed, continuation, index), and with batch-invariant products (core/context.h)
// logits are the same bit for bit.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "data/tokenizer.h"
#include "inference/decoder.h"
#include "inference/engine/request.h"

namespace photon {

struct EngineOptions {
  int64_t state_bytes = int64_t{1} << 30;  // for the states of all that runs, and of kept prefixes
  int64_t max_running = 64;                // sequences: a request counts as many as it has continuations
  int64_t max_waiting = 1024;              // requests
  int64_t max_context = 0;                 // tokens of prompt and continuation; 0: no limit but memory
  // Read in one step, of all prompts together, while others write: they wait meanwhile. Where none does,
  // kPrefillTokens.
  int64_t prefill_tokens = 512;
  bool prompts_first = false;  // a step that reads prompts decodes nothing: all that was submitted runs side by side
  bool share_prefixes = true;  // whole meta-contexts that an earlier prompt began with are not read again
};

// A view of the engine at one moment, and counts since its start.
struct EngineStats {
  int64_t waiting = 0;               // requests
  int64_t running = 0;               // sequences
  int64_t reserved_bytes = 0;        // that all that runs may come to hold
  std::vector<int64_t> level_bytes;  // [l - 1] keys and values of encoder l held now (flat: of the stack)
  int64_t window_bytes = 0;          // of local windows
  int64_t prefix_bytes = 0;          // of prefixes kept for requests to come
  int64_t prompt_tokens = 0;         // counts: read, or reused
  int64_t reused_tokens = 0;         // of these
  int64_t generated_tokens = 0;
  int64_t steps = 0;

  int64_t state_bytes() const;  // all that is held for what runs
};

using RequestId = int64_t;

// Submit, Cancel, stats: any thread. Step: one thread, always the same.
class Engine {
 public:
  // The decoder, its model and context outlive the engine. `tokenizer` may be null: no text, no stop strings.
  Engine(const Decoder& decoder, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options);
  ~Engine();  // as Shutdown
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Queues a request. The listener is kept until its OnEnd. kInvalidArgument: bad ids or options, more continuations
  // than max_running or than could ever fit; kOutOfRange: a prompt and limit beyond max_context, or whose states could
  // never fit; kResourceExhausted: max_waiting requests wait; kUnavailable: shut down.
  absl::StatusOr<RequestId> Submit(EngineRequest request, std::shared_ptr<RequestListener> listener);
  // How many new tokens, `most` at most, such a request may ask for, by max_context and state_bytes; 0: not one.
  int64_t MostNewTokens(const EngineRequest& request, int64_t most) const;
  // Ends a request before the next step; one that has ended already is let be.
  void Cancel(RequestId id);

  // One round. False where nothing waits and nothing runs.
  bool Step();
  // Blocks until there is something to do, at most so long. True where there is.
  bool WaitForWork(absl::Duration most);
  // Ends all requests with kUnavailable, and refuses new ones. On Step's thread.
  void Shutdown();

  EngineStats stats() const;
  const EngineOptions& options() const { return options_; }
  const LanguageModel& model() const;
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }

 private:
  class Impl;
  const EngineOptions options_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace photon
