// What one rank's program did in a dry run: computing, and calls to other ranks, in order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace photon::dry {

enum class CallKind : uint8_t {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kBroadcast,
  kBarrier,
  kSend,
  kPost,
  kReceive,
  kFinishPosts,
};

struct TracedCall {
  double before = 0;  // seconds of computing since the call before
  CallKind kind = CallKind::kBarrier;
  uint8_t reduction = 0;
  uint16_t group = 0;       // which of the rank's groups, in the order in which they were made
  int32_t description = 0;  // Descriptions: call, purpose, type and shape
  int32_t peer = 0;         // root, receiver or sender: a rank of the group
  int32_t tag = 0;
  int64_t bytes = 0;  // of the tensor; of all parts together, where there are parts
  int64_t sent = 0;   // bytes that this rank sends (parallel/traffic.h)

  friend bool operator==(const TracedCall&, const TracedCall&) = default;
};

struct Trace {
  std::vector<TracedCall> calls;
  double after = 0;  // seconds of computing since the last call

  double computing() const;
  friend bool operator==(const Trace&, const Trace&) = default;
};

// Numbers for strings, the same for the same string. Any thread.
class Descriptions {
 public:
  int32_t Number(absl::string_view text);
  std::string Text(int32_t number) const;

 private:
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, int32_t> numbers_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> texts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace photon::dry
