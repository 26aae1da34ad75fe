// Ranks that are threads of one process. They meet at a barrier, look at what each brought, do their share, and meet
// again before anybody may touch its tensors.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "parallel/communicator.h"
#include "parallel/reduce.h"

namespace photon {
namespace {

class Group;

// What one rank brings to a collective.
struct Offer {
  const char* call = "";
  const Tensor* input = nullptr;  // null where the call has no tensor
  const Tensor* output = nullptr;
  int argument = 0;                       // reduction or root: the same on all ranks
  int color = 0, key = 0;                 // Split
  std::shared_ptr<Group> made = nullptr;  // Split: by the lowest rank of a color, for its members

  // What all ranks have to agree on.
  std::string ToString() const {
    if (input == nullptr) return call;
    return absl::StrCat(call, " ", Name(input->dtype()), " of ", input->elements(), " elements, argument ", argument);
  }
};

class Group {
 public:
  explicit Group(int size) : offers_(size) {}

  int size() const { return static_cast<int>(offers_.size()); }

  // Waits until every rank has called it.
  void Wait() {
    absl::MutexLock lock(&mutex_);
    const int64_t round = round_;
    if (++arrived_ == size()) {
      arrived_ = 0;
      ++round_;
      return;
    }
    const auto over = [this, round]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return round_ != round; };
    mutex_.Await(absl::Condition(&over));
  }

  // Between two Wait()s each rank writes its own offer only; after them all may be read until the next Wait().
  Offer& offer(int rank) { return offers_[rank]; }

  // Messages are copied and wait here: sending never blocks.
  using Address = std::tuple<int, int, int>;  // from, to, tag
  void Put(Address address, std::string message) {
    absl::MutexLock lock(&mutex_);
    messages_[address].push_back(std::move(message));
  }
  std::optional<std::string> TakeIfThere(Address address) {
    absl::MutexLock lock(&mutex_);
    std::deque<std::string>& queue = messages_[address];
    if (queue.empty()) return std::nullopt;
    std::string message = std::move(queue.front());
    queue.pop_front();
    return message;
  }
  std::string Take(Address address) {
    absl::MutexLock lock(&mutex_);
    std::deque<std::string>& queue = messages_[address];  // stays where it is while others are added
    const auto there = [&queue] { return !queue.empty(); };
    mutex_.Await(absl::Condition(&there));
    std::string message = std::move(queue.front());
    queue.pop_front();
    return message;
  }

 private:
  absl::Mutex mutex_;
  int arrived_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<Address, std::deque<std::string>> messages_ ABSL_GUARDED_BY(mutex_);
  std::vector<Offer> offers_;
};

class ThreadSideChannel : public SideChannel {
 public:
  ThreadSideChannel(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  void Send(int to, absl::string_view text) override {
    group_->Put({rank_, to, kTag}, std::string(text.substr(0, kBytes)));
  }
  std::optional<Message> Poll() override {
    for (int from = 0; from < size(); ++from) {
      if (std::optional<std::string> text = group_->TakeIfThere({from, rank_, kTag})) {
        return Message{from, *std::move(text)};
      }
    }
    return std::nullopt;
  }

 private:
  static constexpr int kTag = -1;  // no message of the communicator has it

  const std::shared_ptr<Group> group_;
  const int rank_;
};

class ThreadRank : public Communicator {
 public:
  ThreadRank(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  absl::string_view name() const override { return "threads"; }

  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    PHOTON_RETURN_IF_ERROR(Meet({.call = "split", .color = color, .key = key}));
    std::vector<int> members;
    for (int r = 0; r < size(); ++r) {
      if (group_->offer(r).color == color) members.push_back(r);
    }
    const int maker = members[0];
    std::stable_sort(members.begin(), members.end(),
                     [this](int a, int b) { return group_->offer(a).key < group_->offer(b).key; });
    if (rank_ == maker) group_->offer(rank_).made = std::make_shared<Group>(static_cast<int>(members.size()));
    group_->Wait();
    std::shared_ptr<Group> made = group_->offer(maker).made;
    group_->Wait();
    group_->offer(rank_).made = nullptr;
    const int rank = static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());
    return std::make_unique<ThreadRank>(std::move(made), rank);
  }

  absl::StatusOr<std::unique_ptr<SideChannel>> OpenSideChannel() override {
    return std::make_unique<ThreadSideChannel>(group_, rank_);
  }

  void Abort(int exit_code) override {
    std::fflush(nullptr);
    std::_Exit(exit_code);
  }

 protected:
  absl::Status DoAllReduce(const Tensor& tensor, Reduction op) override {
    const int argument = static_cast<int>(op);
    PHOTON_RETURN_IF_ERROR(Meet({.call = "all-reduce", .input = &tensor, .output = &tensor, .argument = argument}));
    // Each rank reduces its share of the elements, and writes the result into everybody's tensor.
    const int64_t begin = tensor.elements() * rank_ / size();
    const int64_t count = tensor.elements() * (rank_ + 1) / size() - begin;
    const int64_t offset = begin * ByteSize(tensor.dtype());
    std::vector<const void*> inputs;
    for (int r = 0; r < size(); ++r) inputs.push_back(At(group_->offer(r).input, offset));
    void* first = At(group_->offer(0).output, offset);
    Reduce(tensor.dtype(), op, inputs, count, first);
    for (int r = 1; r < size(); ++r) {
      std::memcpy(At(group_->offer(r).output, offset), first, count * ByteSize(tensor.dtype()));
    }
    group_->Wait();
    return absl::OkStatus();
  }

  absl::Status DoAllGather(const Tensor& part, const Tensor& whole) override {
    PHOTON_RETURN_IF_ERROR(Meet({.call = "all-gather", .input = &part, .output = &whole}));
    for (int r = 0; r < size(); ++r) {
      const void* from = group_->offer(r).input->raw();
      void* to = At(&whole, r * part.bytes());
      if (from != to) std::memcpy(to, from, part.bytes());
    }
    group_->Wait();
    return absl::OkStatus();
  }

  absl::Status DoReduceScatter(const Tensor& whole, const Tensor& part) override {
    PHOTON_RETURN_IF_ERROR(Meet({.call = "reduce-scatter", .input = &whole, .output = &part}));
    std::vector<const void*> inputs;
    for (int r = 0; r < size(); ++r) inputs.push_back(At(group_->offer(r).input, rank_ * part.bytes()));
    Reduce(part.dtype(), Reduction::kSum, inputs, part.elements(), part.raw());
    group_->Wait();
    return absl::OkStatus();
  }

  absl::Status DoBroadcast(const Tensor& tensor, int root) override {
    PHOTON_RETURN_IF_ERROR(Meet({.call = "broadcast", .input = &tensor, .output = &tensor, .argument = root}));
    if (rank_ != root) std::memcpy(tensor.raw(), group_->offer(root).input->raw(), tensor.bytes());
    group_->Wait();
    return absl::OkStatus();
  }

  absl::Status DoSend(const Tensor& tensor, int to, int tag) override {
    group_->Put({rank_, to, tag}, std::string(static_cast<const char*>(tensor.raw()), tensor.bytes()));
    return absl::OkStatus();
  }

  absl::Status DoReceive(const Tensor& tensor, int from, int tag) override {
    const std::string message = group_->Take({from, rank_, tag});
    if (message.size() != tensor.bytes()) {
      return absl::InternalError(
          absl::StrCat("the message has ", message.size(), " bytes, the tensor ", tensor.bytes()));
    }
    std::memcpy(tensor.raw(), message.data(), message.size());
    return absl::OkStatus();
  }

  absl::Status DoBarrier() override {
    PHOTON_RETURN_IF_ERROR(Meet({.call = "barrier"}));
    group_->Wait();
    return absl::OkStatus();
  }

 private:
  static char* At(const Tensor* tensor, int64_t bytes) { return static_cast<char*>(tensor->raw()) + bytes; }

  // Shows `offer` to the others and waits for theirs; an error, the same on all ranks, where they do not fit. Where it
  // returns OK, the caller ends the collective with a Wait().
  absl::Status Meet(Offer offer) {
    group_->offer(rank_) = std::move(offer);
    group_->Wait();
    const std::string first = group_->offer(0).ToString();
    std::string other;
    for (int r = 1; r < size() && other.empty(); ++r) {
      const std::string mine = group_->offer(r).ToString();
      if (mine != first) other = absl::StrCat("rank 0 calls ", first, "; rank ", r, " calls ", mine);
    }
    if (other.empty()) return absl::OkStatus();
    group_->Wait();  // nobody may overwrite its offer before all have read it
    return absl::InternalError(other);
  }

  std::shared_ptr<Group> group_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> ThreadCommunicators(int count) {
  PHOTON_CHECK(count >= 1) << count << " ranks";
  const auto group = std::make_shared<Group>(count);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int r = 0; r < count; ++r) ranks.push_back(std::make_unique<ThreadRank>(group, r));
  return ranks;
}

}  // namespace photon
