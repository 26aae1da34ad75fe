// A request on its way through the engine: waiting, reading its prompt, running.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "inference/batch_generation.h"
#include "inference/engine/engine.h"
#include "inference/engine/prefix_store.h"

namespace photon {

struct ActiveRequest;

// One of its continuations while it runs.
struct Member : Running {
  ActiveRequest* of;
  int64_t continuation;
  bool by_meta_contexts = false;  // its states have been taken over by a mode that goes by these
  int64_t released = 0;           // of the bytes that were reserved for it
};

struct ActiveRequest {
  RequestId id;
  EngineRequest request;
  std::shared_ptr<RequestListener> listener;
  int64_t bytes = 0;    // reserved for each continuation
  int64_t reading = 0;  // ... and until its prompt is read

  std::optional<ReadUnitsOf> read;  // while its prompt is read; the units come first
  std::vector<std::unique_ptr<Member>> members;
  std::optional<absl::Status> end;  // it is to leave, for this reason
};

}  // namespace photon
