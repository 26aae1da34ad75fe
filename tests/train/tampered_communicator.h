// A group whose ranks leave one of their exchanges out: for the test that the tests of layouts would notice.
#pragma once

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "parallel/communicator.h"

namespace photon::testing {

// What all ranks of a job share: the names of the exchanges met ("all-gather rows of a layer"), and the one left out.
class Tampering {
 public:
  explicit Tampering(std::string removed = "") : removed_(std::move(removed)) {}
  bool Removes(const std::string& exchange) {
    absl::MutexLock lock(&mutex_);
    met_.insert(exchange);
    return exchange == removed_;
  }
  std::set<std::string> met() const {
    absl::MutexLock lock(&mutex_);
    return met_;
  }

 private:
  const std::string removed_;
  mutable absl::Mutex mutex_;
  std::set<std::string> met_;
};

class TamperedCommunicator : public Communicator {
 public:
  TamperedCommunicator(std::unique_ptr<Communicator> inner, Tampering& tampering)
      : inner_(std::move(inner)), tampering_(tampering) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  absl::string_view name() const override { return inner_->name(); }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> part, inner_->Split(color, key));
    return std::make_unique<TamperedCommunicator>(std::move(part), tampering_);
  }
  void Abort(int exit_code) override { inner_->Abort(exit_code); }

 protected:
  absl::Status DoAllReduce(const Tensor& tensor, Reduction op) override {
    return Removed("all-reduce") ? absl::OkStatus() : inner_->AllReduce("", tensor, op);
  }
  absl::Status DoAllGather(const Tensor& part, const Tensor& whole) override {
    if (!Removed("all-gather")) return inner_->AllGather("", part, whole);
    const std::string own(static_cast<const char*>(part.raw()), part.bytes());
    std::memset(whole.raw(), 0, whole.bytes());
    std::memcpy(static_cast<char*>(whole.raw()) + rank() * own.size(), own.data(), own.size());
    return absl::OkStatus();
  }
  absl::Status DoReduceScatter(const Tensor& whole, const Tensor& part) override {
    if (!Removed("reduce-scatter")) return inner_->ReduceScatter("", whole, part);
    std::memmove(part.raw(), static_cast<const char*>(whole.raw()) + rank() * part.bytes(), part.bytes());
    return absl::OkStatus();
  }
  absl::Status DoBroadcast(const Tensor& tensor, int root) override { return inner_->Broadcast("", tensor, root); }
  absl::Status DoSend(const Tensor& tensor, int to, int tag) override {
    return Removed("message") ? absl::OkStatus() : inner_->Send("", tensor, to, tag);
  }
  absl::Status DoPost(const Tensor& tensor, int to, int tag) override {
    return Removed("message") ? absl::OkStatus() : inner_->Post("", tensor, to, tag);
  }
  absl::Status DoFinishPosts() override { return inner_->FinishPosts(); }
  absl::Status DoReceive(const Tensor& tensor, int from, int tag) override {
    if (!Removed("message")) return inner_->Receive("", tensor, from, tag);
    std::memset(tensor.raw(), 0, tensor.bytes());
    return absl::OkStatus();
  }
  absl::Status DoBarrier() override { return inner_->Barrier(""); }

 private:
  // Whether the call under way is left out. Its purpose is what the ring of calls says: "#7 post to 1 tag 0 shift
  // f64[2, 32] running for 0.0 s".
  bool Removed(const std::string& call) {
    if (size() == 1) return false;
    const std::string calls = RecentCalls();
    std::string line = calls.substr(calls.rfind('#'));
    line = line.substr(0, line.rfind('['));                                        // without the shape
    line = line.substr(line.find(' ') + 1, line.rfind(' ') - line.find(' ') - 1);  // the number, and the type
    if (call == "message") line = line.substr(line.find(' ', line.find("tag ") + 4) + 1);
    return tampering_.Removes(call == "message" ? absl::StrCat("message ", line) : line);
  }

  std::unique_ptr<Communicator> inner_;
  Tampering& tampering_;
};

}  // namespace photon::testing
