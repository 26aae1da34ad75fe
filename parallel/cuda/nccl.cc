#include "parallel/cuda/nccl.h"

#include <time.h>

#include <cstdio>
#include <deque>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "core/cuda/launch.h"
#include "core/time.h"
#include "parallel/staged.h"

namespace photon::cuda {
namespace {

// ncclCommInitRank and ncclCommSplit return when all ranks have called them. Where one has failed before, the others
// would wait for ever, and no watchdog watches a communicator that is not there yet.
class InitialisationLimit {
 public:
  InitialisationLimit(Communicator& host, const char* call) : host_(host), call_(call), thread_([this] { Wait(); }) {}
  ~InitialisationLimit() {
    done_.Notify();
    thread_.join();
  }

 private:
  static constexpr absl::Duration kLimit = absl::Minutes(5);

  void Wait() {
    if (done_.WaitForNotificationWithTimeout(kLimit)) return;
    std::fprintf(stderr,
                 "photon: rank %d of %d has waited 5 minutes in %s: another rank is gone, or the network "
                 "between them does not work (NCCL_DEBUG=INFO tells more)\n",
                 host_.rank(), host_.size(), call_);
    host_.Abort(1);
  }

  Communicator& host_;
  const char* const call_;
  absl::Notification done_;
  std::thread thread_;
};

class NcclRank : public Communicator {
 public:
  // Takes `comm` over. `host` reaches device tensors too, by way of the host.
  NcclRank(const NcclApi& nccl, NcclComm comm, std::unique_ptr<Communicator> host, const Context& context,
           bool background)
      : nccl_(nccl), comm_(comm), host_(std::move(host)), context_(context), background_(background) {
    Check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), context_, "a stream for NCCL");
    Check(cudaEventCreateWithFlags(&ready_, cudaEventDisableTiming), context_, "an event for NCCL");
  }

  // Where another rank is gone, what is queued never ends, and only an abort lets go of it.
  ~NcclRank() override {
    UseDevice();
    Drained() ? nccl_.CommDestroy(comm_) : nccl_.CommAbort(comm_);
    cudaEventDestroy(ready_);
    cudaStreamDestroy(stream_);
  }

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  absl::string_view name() const override { return "nccl"; }

  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    return Part(color, key, background_, host_->Split(color, key));
  }
  absl::StatusOr<std::unique_ptr<Communicator>> ForBackground() override {
    return Part(0, rank(), /*background=*/true, host_->Split(0, rank()));
  }

  // The process ends, and the driver with it lets go of the GPU. An ncclCommAbort before would wake the main thread out
  // of a collective that others never joined, to go on with sums that are none.
  void Abort(int exit_code) override { host_->Abort(exit_code); }

  std::string RecentCalls() const override {
    std::string text = Communicator::RecentCalls();
    absl::MutexLock lock(&mutex_);
    for (const Call& call : calls_) {
      absl::StrAppendFormat(&text, "on the GPU, not done: %s\n", call.description);
    }
    return text;
  }

  std::string LastCall() const override {
    {
      absl::MutexLock lock(&mutex_);
      if (!calls_.empty()) return absl::StrCat("on the GPU, ", calls_.front().description);
    }
    return Communicator::LastCall();
  }

  double SecondsInCall() const override {
    UseDevice();
    absl::MutexLock lock(&mutex_);
    while (!calls_.empty() && cudaEventQuery(calls_.front().end.get()) == cudaSuccess) calls_.pop_front();
    if (calls_.empty()) return Communicator::SecondsInCall();
    Call& oldest = calls_.front();
    if (oldest.began < 0 && cudaEventQuery(oldest.begin.get()) == cudaSuccess) oldest.began = Now();
    return oldest.began < 0 ? 0 : Now() - oldest.began;
  }

  absl::Status LateError() const override {
    UseDevice();
    NcclResult error = kNcclSuccess;
    const NcclResult asked = nccl_.CommGetAsyncError(comm_, &error);
    if (asked != kNcclSuccess) error = asked;
    if (error == kNcclSuccess || error == kNcclInProgress) return absl::OkStatus();
    return ToStatus(error, "a collective");
  }

 protected:
  absl::Status DoAllReduce(const Tensor& tensor, Reduction op) override {
    if (OnHost(tensor) || op != Reduction::kSum) return host_->AllReduce(kWhat, tensor, op);
    PHOTON_ASSIGN_OR_RETURN(const NcclType type, SumType(tensor.dtype()));
    return Queue("all-reduce", tensor, [&] {
      return nccl_.AllReduce(tensor.raw(), tensor.raw(), tensor.elements(), type, kNcclSum, comm_, stream_);
    });
  }
  absl::Status DoReduceScatter(const Tensor& whole, const Tensor& part) override {
    if (OnHost(whole)) return host_->ReduceScatter(kWhat, whole, part);
    PHOTON_ASSIGN_OR_RETURN(const NcclType type, SumType(whole.dtype()));
    return Queue("reduce-scatter", whole, [&] {
      return nccl_.ReduceScatter(whole.raw(), part.raw(), part.elements(), type, kNcclSum, comm_, stream_);
    });
  }
  absl::Status DoAllGather(const Tensor& part, const Tensor& whole) override {
    if (OnHost(whole)) return host_->AllGather(kWhat, part, whole);
    return Queue("all-gather", whole,
                 [&] { return nccl_.AllGather(part.raw(), whole.raw(), part.bytes(), kNcclUint8, comm_, stream_); });
  }
  absl::Status DoBroadcast(const Tensor& tensor, int root) override {
    if (OnHost(tensor)) return host_->Broadcast(kWhat, tensor, root);
    return Queue("broadcast", tensor, [&] {
      return nccl_.Broadcast(tensor.raw(), tensor.raw(), tensor.bytes(), kNcclUint8, root, comm_, stream_);
    });
  }
  absl::Status DoSend(const Tensor& tensor, int to, int tag) override { return host_->Send(kWhat, tensor, to, tag); }
  absl::Status DoReceive(const Tensor& tensor, int from, int tag) override {
    return host_->Receive(kWhat, tensor, from, tag);
  }
  absl::Status DoPost(const Tensor& tensor, int to, int tag) override { return host_->Post(kWhat, tensor, to, tag); }
  absl::Status DoFinishPosts() override { return host_->FinishPosts(); }
  absl::Status DoBarrier() override { return host_->Barrier(kWhat); }
  bool Reaches(DeviceType device) const override { return device == DeviceType::kCpu || device == DeviceType::kCuda; }

 private:
  static constexpr absl::string_view kWhat = "beside NCCL";

  // The watchdog's thread may drop a call that is done while the thread that made it still waits for its end.
  using Event = std::shared_ptr<std::remove_pointer_t<cudaEvent_t>>;

  struct Call {
    std::string description;
    Event begin, end;
    double began = -1;  // when the GPU was first seen to have reached it
  };

  // Of the calling thread, the watchdog's say: one that has none yet would take device 0 and half a GB of its memory.
  // An error comes again from what is called next.
  void UseDevice() const { (void)cudaSetDevice(context_.device().index); }

  static bool OnHost(const Tensor& tensor) { return tensor.device().type == DeviceType::kCpu; }

  static absl::StatusOr<NcclType> SumType(DType dtype) {
    switch (dtype) {
      case DType::kF64:
        return kNcclFloat64;
      case DType::kF32:
        return kNcclFloat32;
      case DType::kBF16:
        return kNcclBfloat16;
      case DType::kI64:
        return kNcclInt64;
      case DType::kI32:
        return kNcclInt32;
      case DType::kU8:
        return kNcclUint8;
      default:
        return absl::InternalError(absl::StrCat("NCCL has no sum of ", Name(dtype)));
    }
  }

  absl::Status ToStatus(NcclResult result, absl::string_view call) const {
    if (result == kNcclSuccess) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("NCCL failed in ", call, " on cuda:", context_.device().index, ": ",
                                               nccl_.GetErrorString(result), " (", nccl_.GetLastError(comm_), ")"));
  }

  // A group of one needs no NCCL, whose communicators take memory of the GPU.
  absl::StatusOr<std::unique_ptr<Communicator>> Part(int color, int key, bool background,
                                                     absl::StatusOr<std::unique_ptr<Communicator>> host) {
    PHOTON_RETURN_IF_ERROR(host.status());
    const bool alone = (*host)->size() == 1;
    NcclComm made = nullptr;
    const NcclResult result = [&] {
      const InitialisationLimit limit(*host_, "ncclCommSplit");
      return nccl_.CommSplit(comm_, alone ? kNcclNoColor : color, key, &made, nullptr);
    }();
    PHOTON_RETURN_IF_ERROR(AgreeOn(*host_, "NCCL's groups", ToStatus(result, "ncclCommSplit")));
    if (alone) return StagedCommunicator(*std::move(host), context_);
    return std::make_unique<NcclRank>(nccl_, made, *std::move(host), context_, background);
  }

  template <typename F>
  absl::Status Queue(absl::string_view name, const Tensor& tensor, F&& collective) {
    UseDevice();
    Call call{absl::StrCat(name, " ", Name(tensor.dtype()), tensor.shape().ToString()), NewEvent(), NewEvent()};
    const cudaStream_t compute = QueueOf(context_).stream;
    Check(cudaEventRecord(ready_, compute), context_, "NCCL");
    Check(cudaStreamWaitEvent(stream_, ready_, 0), context_, "NCCL");
    Check(cudaEventRecord(call.begin.get(), stream_), context_, "NCCL");
    const absl::Status status = ToStatus(collective(), call.description);
    Check(cudaEventRecord(call.end.get(), stream_), context_, "NCCL");
    const Event end = call.end;
    if (!background_) Check(cudaStreamWaitEvent(compute, end.get(), 0), context_, "NCCL");
    {
      absl::MutexLock lock(&mutex_);
      calls_.push_back(std::move(call));
      while (calls_.size() > 1 && cudaEventQuery(calls_.front().end.get()) == cudaSuccess) calls_.pop_front();
    }
    if (!status.ok() || !background_) return status;
    return WaitFor(end.get());
  }

  // Waits for the stream, some seconds at most.
  bool Drained() const {
    constexpr double kPatience = 5;
    for (const double until = Now() + kPatience; Now() < until && LateError().ok(); Pause()) {
      if (cudaStreamQuery(stream_) != cudaErrorNotReady) return true;
    }
    return false;
  }

  static void Pause() {
    constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 20'000};
    nanosleep(&kPause, nullptr);
  }

  // Sleeping: the core is the computation's.
  absl::Status WaitFor(cudaEvent_t end) const {
    while (true) {
      const cudaError_t state = cudaEventQuery(end);
      if (state == cudaSuccess) return absl::OkStatus();
      if (state != cudaErrorNotReady) Check(state, context_, "NCCL");
      PHOTON_RETURN_IF_ERROR(LateError());
      Pause();
    }
  }

  Event NewEvent() const {
    cudaEvent_t event;
    Check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), context_, "an event for NCCL");
    return Event(event, [](cudaEvent_t made) { cudaEventDestroy(made); });
  }

  const NcclApi& nccl_;
  NcclComm comm_;
  std::unique_ptr<Communicator> host_;
  Context context_;
  const bool background_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t ready_ = nullptr;
  mutable absl::Mutex mutex_;
  mutable std::deque<Call> calls_ ABSL_GUARDED_BY(mutex_);  // queued, oldest first
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> NcclCommunicator(const NcclApi& nccl, std::unique_ptr<Communicator> host,
                                                               const Context& context) {
  const int rank = host->rank(), size = host->size();
  const auto failed = [&](NcclResult result, absl::string_view call) {
    return absl::UnavailableError(absl::StrCat("NCCL: ", call, " on rank ", rank, " of ", size,
                                               ", cuda:", context.device().index, ": ", nccl.GetErrorString(result),
                                               " (", nccl.GetLastError(nullptr), "); NCCL_DEBUG=INFO tells more"));
  };
  NcclUniqueId id = {};
  absl::Status made;
  if (rank == 0) {
    const NcclResult result = nccl.GetUniqueId(&id);
    if (result != kNcclSuccess) made = failed(result, "ncclGetUniqueId");
  }
  PHOTON_RETURN_IF_ERROR(AgreeOn(*host, "NCCL's id", made));
  const Tensor bytes = Tensor::Wrap(id.bytes, {sizeof(id.bytes)}, DType::kU8);
  PHOTON_RETURN_IF_ERROR(host->Broadcast("NCCL's id", bytes, 0));
  Check(cudaSetDevice(context.device().index), context, "NCCL");
  NcclComm comm = nullptr;
  const NcclResult result = [&] {
    const InitialisationLimit limit(*host, "ncclCommInitRank");
    return nccl.CommInitRank(&comm, size, id, rank);
  }();
  PHOTON_RETURN_IF_ERROR(
      AgreeOn(*host, "NCCL", result == kNcclSuccess ? absl::OkStatus() : failed(result, "ncclCommInitRank")));
  return std::make_unique<NcclRank>(nccl, comm, StagedCommunicator(std::move(host), context), context,
                                    /*background=*/false);
}

absl::Status CheckNccl() { return LoadNccl().status(); }

absl::StatusOr<std::unique_ptr<Communicator>> OpenNccl(std::unique_ptr<Communicator> host, const Context& context) {
  PHOTON_ASSIGN_OR_RETURN(const NcclApi* nccl, LoadNccl());
  return NcclCommunicator(*nccl, std::move(host), context);
}

}  // namespace photon::cuda
