#include "parallel/dry/dry_world.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "parallel/traffic.h"

namespace photon::dry {

// Learns which groups a rank asks for. They come as groups of one.
class SplitProbe final : public Communicator {
 public:
  SplitProbe(DryWorld& world, int rank) : world_(world), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return world_.ranks(); }
  absl::string_view name() const override { return "dry"; }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    world_.requests_[rank_].push_back({color, key});
    return SelfCommunicator();
  }
  [[noreturn]] void Abort(int exit_code) override { std::_Exit(exit_code); }

 protected:
  bool Reaches(DeviceType) const override { return true; }
  absl::Status DoAllReduce(const Tensor&, Reduction) override { return absl::OkStatus(); }
  absl::Status DoAllGather(const Tensor&, const Tensor&) override { return absl::OkStatus(); }
  absl::Status DoReduceScatter(const Tensor&, const Tensor&) override { return absl::OkStatus(); }
  absl::Status DoBroadcast(const Tensor&, int) override { return absl::OkStatus(); }
  absl::Status DoSend(const Tensor&, int, int) override { return absl::OkStatus(); }
  absl::Status DoReceive(const Tensor&, int, int) override { return absl::OkStatus(); }
  absl::Status DoBarrier() override { return absl::OkStatus(); }

 private:
  DryWorld& world_;
  int rank_;
};

absl::StatusOr<std::unique_ptr<DryWorld>> DryWorld::Create(int ranks,
                                                           const std::function<absl::Status(Communicator&)>& setup) {
  std::unique_ptr<DryWorld> world(new DryWorld(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    SplitProbe probe(*world, rank);
    PHOTON_RETURN_IF_ERROR(setup(probe));
    const size_t asked = world->requests_[rank].size(), first = world->requests_[0].size();
    if (asked == first) continue;
    return absl::InternalError(
        absl::StrCat("rank ", rank, " asks for ", asked, " groups of all ranks, rank 0 for ", first));
  }
  world->MakeGroups();
  return world;
}

void DryWorld::MakeGroups() {
  groups_.emplace_back();
  for (int rank = 0; rank < ranks_; ++rank) groups_[0].push_back(rank);
  group_of_.emplace_back(ranks_, 0);
  for (size_t split = 0; split < requests_[0].size(); ++split) {
    std::map<int, std::vector<std::pair<int, int>>> by_color;  // key, rank
    for (int rank = 0; rank < ranks_; ++rank) {
      const Request& request = requests_[rank][split];
      by_color[request.color].emplace_back(request.key, rank);
    }
    std::vector<int>& group_of = group_of_.emplace_back(ranks_);
    for (auto& [color, members] : by_color) {
      std::sort(members.begin(), members.end());
      std::vector<int>& group = groups_.emplace_back();
      for (const auto& [key, rank] : members) {
        group.push_back(rank);
        group_of[rank] = static_cast<int>(groups_.size()) - 1;
      }
    }
  }
  requests_.clear();
}

const std::vector<int>& DryWorld::members(int split, int rank) const { return groups_[group_of_[split][rank]]; }

class DryCommunicator final : public Communicator {
 public:
  DryCommunicator(Recorder& recorder, int split, bool background)
      : recorder_(recorder),
        members_(recorder.world_.members(split, recorder.rank_)),
        rank_(static_cast<int>(std::find(members_.begin(), members_.end(), recorder.rank_) - members_.begin())),
        background_(background),
        group_(static_cast<uint16_t>(recorder.groups_.size())),
        split_(split) {
    recorder.groups_.push_back(&members_);
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  absl::string_view name() const override { return "dry"; }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int, int) override {
    PHOTON_CHECK(split_ == 0) << "a dry group can only be split off the world";
    return std::make_unique<DryCommunicator>(recorder_, ++splits_, background_);
  }
  absl::StatusOr<std::unique_ptr<Communicator>> ForBackground() override {
    return std::make_unique<DryCommunicator>(recorder_, split_, /*background=*/true);
  }
  // In a dry run a collective never fails; a program that gives up has found a fault of its own.
  [[noreturn]] void Abort(int exit_code) override { std::exit(exit_code); }

 protected:
  bool Reaches(DeviceType) const override { return true; }
  absl::Status DoAllReduce(const Tensor& tensor, Reduction op) override {
    const auto element = static_cast<int64_t>(ByteSize(tensor.dtype()));
    return Write({.kind = CallKind::kAllReduce,
                  .reduction = static_cast<uint8_t>(op),
                  .bytes = Bytes(tensor),
                  .sent = AllReduceSent(tensor.elements(), element, size(), rank_)});
  }
  absl::Status DoAllGather(const Tensor& part, const Tensor& whole) override {
    return Write({.kind = CallKind::kAllGather, .bytes = Bytes(whole), .sent = AllGatherSent(Bytes(part), size())});
  }
  absl::Status DoReduceScatter(const Tensor& whole, const Tensor& part) override {
    return Write(
        {.kind = CallKind::kReduceScatter, .bytes = Bytes(whole), .sent = ReduceScatterSent(Bytes(part), size())});
  }
  absl::Status DoBroadcast(const Tensor& tensor, int root) override {
    return Write({.kind = CallKind::kBroadcast,
                  .peer = root,
                  .bytes = Bytes(tensor),
                  .sent = rank_ == root ? AllGatherSent(Bytes(tensor), size()) : 0});
  }
  absl::Status DoSend(const Tensor& tensor, int to, int tag) override {
    return Message(CallKind::kSend, tensor, to, tag);
  }
  absl::Status DoPost(const Tensor& tensor, int to, int tag) override {
    return Message(CallKind::kPost, tensor, to, tag);
  }
  absl::Status DoReceive(const Tensor& tensor, int from, int tag) override {
    return Write({.kind = CallKind::kReceive, .peer = from, .tag = tag, .bytes = Bytes(tensor)});
  }
  absl::Status DoFinishPosts() override { return Write({.kind = CallKind::kFinishPosts}); }
  absl::Status DoBarrier() override { return Write({.kind = CallKind::kBarrier}); }

 private:
  static int64_t Bytes(const Tensor& tensor) { return static_cast<int64_t>(tensor.bytes()); }
  absl::Status Message(CallKind kind, const Tensor& tensor, int to, int tag) {
    return Write({.kind = kind, .peer = to, .tag = tag, .bytes = Bytes(tensor), .sent = Bytes(tensor)});
  }
  absl::Status Write(TracedCall call) {
    if (size() == 1) return absl::OkStatus();
    call.group = group_;
    call.description = recorder_.world_.descriptions().Number(CallUnderWay());
    recorder_.Write(call, background_);
    return absl::OkStatus();
  }

  Recorder& recorder_;
  const std::vector<int>& members_;
  int rank_;
  bool background_;
  uint16_t group_;
  int split_;
  int splits_ = 0;
};

std::unique_ptr<Communicator> Recorder::World() { return std::make_unique<DryCommunicator>(*this, 0, false); }

void Recorder::Write(TracedCall call, bool background) {
  if (background) return background_.calls.push_back(call);
  call.before = std::exchange(pending_, 0);
  trace_.calls.push_back(call);
}

Trace Recorder::Take() {
  trace_.after = std::exchange(pending_, 0);
  return std::exchange(trace_, {});
}

Trace Recorder::TakeBackground() { return std::exchange(background_, {}); }

}  // namespace photon::dry
