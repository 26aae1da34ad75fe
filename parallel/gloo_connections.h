// The TCP connections of a process, which all its groups share, and what is under way on them.
#pragma once

#include <gloo/rendezvous/context.h>

#include <deque>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace photon {

using GlooBuffer = std::unique_ptr<gloo::transport::UnboundBuffer>;

// A message under way, behind a header that tells its size: Gloo ends the process where sizes differ.
struct GlooOutgoing {
  std::unique_ptr<int64_t> size;
  GlooBuffer header, payload;
  std::vector<char> copy;  // of what the sender doesn't wait for

  void Wait() {
    header->waitSend();
    if (payload != nullptr) payload->waitSend();
  }
};

class GlooConnections {
 public:
  explicit GlooConnections(std::shared_ptr<gloo::rendezvous::Context> mesh) : mesh_(std::move(mesh)) {
    thread_ = std::thread([this] { WaitForMessages(); });
  }
  ~GlooConnections() {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
    }
    thread_.join();
  }

  gloo::rendezvous::Context& mesh() { return *mesh_; }
  // Keeps a message alive until it has gone.
  void Keep(GlooOutgoing message) {
    absl::MutexLock lock(&mutex_);
    under_way_.push_back(std::move(message));
  }
  int64_t next_group = 1;

 private:
  void WaitForMessages() {
    const auto some = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stop_ || !under_way_.empty(); };
    while (true) {
      GlooOutgoing oldest;
      {
        absl::MutexLock lock(&mutex_, absl::Condition(&some));
        if (under_way_.empty()) return;
        oldest = std::move(under_way_.front());
        under_way_.pop_front();
      }
      try {
        oldest.Wait();
      } catch (const std::exception&) {  // the receiver is told, or is gone
      }
    }
  }

  std::shared_ptr<gloo::rendezvous::Context> mesh_;
  absl::Mutex mutex_;
  std::deque<GlooOutgoing> under_way_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace photon
