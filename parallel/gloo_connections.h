// The TCP connections of a process, which all its groups share, and what is under way on them.
#pragma once

#include <gloo/rendezvous/context.h>

#include <deque>
#include <exception>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "core/tensor.h"

namespace photon {

using GlooBuffer = std::unique_ptr<gloo::transport::UnboundBuffer>;

// What a rank has posted and not seen go yet.
class GlooPosts {
 public:
  void Add() {
    absl::MutexLock lock(&mutex_);
    ++under_way_;
  }
  void Remove(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    --under_way_;
    status_.Update(status);
  }
  // Waits until all have gone; the first error of those since the last call.
  absl::Status Finish() {
    absl::MutexLock lock(&mutex_);
    const auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return under_way_ == 0; };
    mutex_.Await(absl::Condition(&none));
    return std::exchange(status_, absl::OkStatus());
  }

 private:
  absl::Mutex mutex_;
  int64_t under_way_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// A message under way, behind a header that tells its size: Gloo ends the process where sizes differ.
struct GlooOutgoing {
  std::unique_ptr<int64_t> size = nullptr;
  GlooBuffer header = nullptr, payload = nullptr;
  // Of a message that its sender doesn't wait for: a copy, or the tensor and where its end is to be told.
  std::vector<char> copy = {};
  Tensor tensor = {};
  std::shared_ptr<GlooPosts> posts = nullptr;

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
      absl::Status status;
      try {
        oldest.Wait();
      } catch (const std::exception& error) {  // the receiver is told, or is gone
        status = absl::UnavailableError(error.what());
      }
      { const Tensor gone = std::move(oldest.tensor); }  // before its end is told
      if (oldest.posts != nullptr) oldest.posts->Remove(status);
    }
  }

  std::shared_ptr<gloo::rendezvous::Context> mesh_;
  absl::Mutex mutex_;
  std::deque<GlooOutgoing> under_way_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace photon
