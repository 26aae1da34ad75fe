#include "parallel/staged.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "core/ops/memory.h"

namespace photon {
namespace {

// A tensor's bytes on the host, where the tensor isn't there anyway.
class Staged {
 public:
  enum class Content { kKept, kOverwritten };

  Staged(const Context& context, const Tensor& tensor, Content content) : context_(context), tensor_(tensor) {
    if (tensor.device().type == DeviceType::kCpu) {
      host_ = tensor;
      return;
    }
    bytes_.resize(std::max<size_t>(tensor.bytes(), 1));  // an empty tensor is one all the same
    host_ = Tensor::Wrap(bytes_.data(), tensor.shape(), tensor.dtype());
    if (content == Content::kKept) context.ToHost(tensor, bytes_.data());
  }

  const Tensor& host() const { return host_; }
  // Brings what was written back to the device.
  absl::Status Return(absl::Status status) {
    if (status.ok() && !bytes_.empty()) ops::CopyFromHost(context_, bytes_.data(), tensor_);
    return status;
  }

 private:
  const Context& context_;
  const Tensor& tensor_;
  std::vector<char> bytes_;
  Tensor host_;
};

class StagedRank : public Communicator {
 public:
  StagedRank(std::unique_ptr<Communicator> host, const Context& context) : host_(std::move(host)), context_(context) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  absl::string_view name() const override { return host_->name(); }

  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> part, host_->Split(color, key));
    return StagedCommunicator(std::move(part), context_);
  }
  // A context belongs to one thread, and so do copies to and from its device.
  absl::StatusOr<std::unique_ptr<Communicator>> ForBackground() override {
    return absl::FailedPreconditionError(
        "parallel.overlap_reduction: ranks that exchange by way of the host can't reduce behind the computation; set "
        "it to false, or give every rank a GPU of its own and install NCCL");
  }
  void Abort(int exit_code) override { host_->Abort(exit_code); }

 protected:
  absl::Status DoAllReduce(const Tensor& tensor, Reduction op) override {
    if (size() == 1) return absl::OkStatus();
    Staged staged(context_, tensor, Staged::Content::kKept);
    return staged.Return(host_->AllReduce(kWhat, staged.host(), op));
  }
  absl::Status DoAllGather(const Tensor& part, const Tensor& whole) override {
    Staged mine(context_, part, Staged::Content::kKept), all(context_, whole, Staged::Content::kOverwritten);
    return all.Return(host_->AllGather(kWhat, mine.host(), all.host()));
  }
  absl::Status DoReduceScatter(const Tensor& whole, const Tensor& part) override {
    Staged all(context_, whole, Staged::Content::kKept), mine(context_, part, Staged::Content::kOverwritten);
    return mine.Return(host_->ReduceScatter(kWhat, all.host(), mine.host()));
  }
  absl::Status DoBroadcast(const Tensor& tensor, int root) override {
    if (size() == 1) return absl::OkStatus();
    Staged staged(context_, tensor, rank() == root ? Staged::Content::kKept : Staged::Content::kOverwritten);
    return staged.Return(host_->Broadcast(kWhat, staged.host(), root));
  }
  absl::Status DoSend(const Tensor& tensor, int to, int tag) override {
    Staged staged(context_, tensor, Staged::Content::kKept);
    return host_->Send(kWhat, staged.host(), to, tag);
  }
  absl::Status DoReceive(const Tensor& tensor, int from, int tag) override {
    Staged staged(context_, tensor, Staged::Content::kOverwritten);
    return staged.Return(host_->Receive(kWhat, staged.host(), from, tag));
  }
  absl::Status DoBarrier() override { return host_->Barrier(kWhat); }
  absl::Status DoPost(const Tensor& tensor, int to, int tag) override {
    if (tensor.device().type == DeviceType::kCpu) return host_->Post(kWhat, tensor, to, tag);
    const Tensor copy(posts_, Device{}, tensor.shape(), tensor.dtype());  // which the host's group keeps
    context_.ToHost(tensor, copy.raw());
    return host_->Post(kWhat, copy, to, tag);
  }
  absl::Status DoFinishPosts() override { return host_->FinishPosts(); }
  bool Reaches(DeviceType device) const override {
    return device == DeviceType::kCpu || device == context_.device().type;
  }

 private:
  static constexpr absl::string_view kWhat = "by way of the host";

  Arena posts_;  // before host_, which may still hold what was posted
  std::unique_ptr<Communicator> host_;
  Context context_;
};

}  // namespace

std::unique_ptr<Communicator> StagedCommunicator(std::unique_ptr<Communicator> host, const Context& context) {
  return std::make_unique<StagedRank>(std::move(host), context);
}

}  // namespace photon
