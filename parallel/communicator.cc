#include "parallel/communicator.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/time.h"
#include "parallel/traffic.h"

namespace photon {
namespace {

std::string Describe(const Tensor& tensor) { return absl::StrCat(Name(tensor.dtype()), tensor.shape().ToString()); }

}  // namespace

template <typename Check, typename Body>
absl::Status Communicator::Run(absl::string_view call, absl::string_view what, const Tensor* tensor, int64_t sends,
                               Check&& check, Body&& body) {
  const std::string description =
      tensor == nullptr ? absl::StrCat(call, " ", what) : absl::StrCat(call, " ", what, " ", Describe(*tensor));
  {
    absl::MutexLock lock(&mutex_);
    recent_.resize(kRemembered);
    recent_[calls_++ % kRemembered] = {description, Now(), Progress::kRunning};
  }
  absl::Status status = check();
  if (status.ok()) status = body();
  absl::MutexLock lock(&mutex_);
  recent_[(calls_ - 1) % kRemembered].progress = status.ok() ? Progress::kDone : Progress::kFailed;
  if (status.ok()) {
    sent_ += sends;
    return status;
  }
  return absl::Status(
      status.code(), absl::StrCat(name(), " rank ", rank(), " of ", size(), ": ", description, ": ", status.message()));
}

absl::Status Communicator::CheckTensor(const Tensor& tensor) const {
  if (!tensor.defined()) return absl::InternalError("the tensor is empty");
  if (!tensor.contiguous()) return absl::InternalError("the tensor is not contiguous");
  if (!Reaches(tensor.device().type)) {
    return absl::InternalError(absl::StrCat("these ranks cannot reach ", tensor.ToString()));
  }
  return absl::OkStatus();
}

absl::Status Communicator::CheckParts(const Tensor& part, const Tensor& whole) const {
  PHOTON_RETURN_IF_ERROR(CheckTensor(part));
  PHOTON_RETURN_IF_ERROR(CheckTensor(whole));
  if (part.dtype() != whole.dtype() || part.elements() * size() != whole.elements()) {
    return absl::InternalError(
        absl::StrCat(size(), " parts of ", Describe(part), " do not make the whole ", Describe(whole)));
  }
  const char* part_begin = static_cast<const char*>(part.raw());
  const char* whole_begin = static_cast<const char*>(whole.raw());
  const bool apart = part_begin + part.bytes() <= whole_begin || whole_begin + whole.bytes() <= part_begin;
  if (!apart && part_begin != whole_begin + rank() * part.bytes()) {
    return absl::InternalError("part and whole overlap, and not in the part's own place");
  }
  return absl::OkStatus();
}

absl::Status Communicator::CheckPeer(int peer, int tag) const {
  if (peer < 0 || peer >= size() || peer == rank()) {
    return absl::InternalError(absl::StrCat("rank ", peer, " is not another rank of the ", size()));
  }
  if (tag < 0 || tag >= kTags) return absl::InternalError(absl::StrCat("tag ", tag, " is not in [0, ", kTags, ")"));
  return absl::OkStatus();
}

absl::Status Communicator::AllReduce(absl::string_view what, const Tensor& tensor, Reduction op) {
  const auto element = static_cast<int64_t>(ByteSize(tensor.dtype()));
  return Run(
      "all-reduce", what, &tensor, AllReduceSent(tensor.elements(), element, size(), rank()),
      [&] { return CheckTensor(tensor); }, [&] { return DoAllReduce(tensor, op); });
}

absl::Status Communicator::AllGather(absl::string_view what, const Tensor& part, const Tensor& whole) {
  return Run(
      "all-gather", what, &whole, AllGatherSent(part.bytes(), size()), [&] { return CheckParts(part, whole); },
      [&] { return DoAllGather(part, whole); });
}

absl::Status Communicator::ReduceScatter(absl::string_view what, const Tensor& whole, const Tensor& part) {
  return Run(
      "reduce-scatter", what, &whole, ReduceScatterSent(part.bytes(), size()), [&] { return CheckParts(part, whole); },
      [&] { return DoReduceScatter(whole, part); });
}

absl::Status Communicator::Broadcast(absl::string_view what, const Tensor& tensor, int root) {
  const auto check = [&] {
    if (root < 0 || root >= size()) return absl::InternalError(absl::StrCat("root ", root, " is none of the ranks"));
    return CheckTensor(tensor);
  };
  const int64_t sends = rank() == root ? AllGatherSent(tensor.bytes(), size()) : 0;
  return Run(absl::StrCat("broadcast from ", root, " of"), what, &tensor, sends, check,
             [&] { return DoBroadcast(tensor, root); });
}

absl::Status Communicator::Send(absl::string_view what, const Tensor& tensor, int to, int tag) {
  const auto check = [&] {
    PHOTON_RETURN_IF_ERROR(CheckPeer(to, tag));
    return CheckTensor(tensor);
  };
  return Run(absl::StrCat("send to ", to, " tag ", tag), what, &tensor, tensor.bytes(), check,
             [&] { return DoSend(tensor, to, tag); });
}

absl::Status Communicator::Post(absl::string_view what, const Tensor& tensor, int to, int tag) {
  const auto check = [&] {
    PHOTON_RETURN_IF_ERROR(CheckPeer(to, tag));
    return CheckTensor(tensor);
  };
  return Run(absl::StrCat("post to ", to, " tag ", tag), what, &tensor, tensor.bytes(), check,
             [&] { return DoPost(tensor, to, tag); });
}

absl::Status Communicator::FinishPosts() {
  return Run(
      "finish posts", "", nullptr, 0, [] { return absl::OkStatus(); }, [&] { return DoFinishPosts(); });
}

absl::Status Communicator::Receive(absl::string_view what, const Tensor& tensor, int from, int tag) {
  const auto check = [&] {
    PHOTON_RETURN_IF_ERROR(CheckPeer(from, tag));
    return CheckTensor(tensor);
  };
  return Run(absl::StrCat("receive from ", from, " tag ", tag), what, &tensor, 0, check,
             [&] { return DoReceive(tensor, from, tag); });
}

absl::Status Communicator::Barrier(absl::string_view what) {
  return Run(
      "barrier", what, nullptr, 0, [] { return absl::OkStatus(); }, [&] { return DoBarrier(); });
}

std::string Communicator::RecentCalls() const {
  absl::MutexLock lock(&mutex_);
  std::string text;
  for (int64_t i = calls_ > kRemembered ? calls_ - kRemembered : 0; i < calls_; ++i) {
    const Call& call = recent_[i % kRemembered];
    absl::StrAppend(&text, "#", i + 1, " ", call.description);
    switch (call.progress) {
      case Progress::kDone:
        absl::StrAppend(&text, " done\n");
        break;
      case Progress::kFailed:
        absl::StrAppend(&text, " failed\n");
        break;
      case Progress::kRunning:
        absl::StrAppendFormat(&text, " running for %.1f s\n", Now() - call.started);
        break;
    }
  }
  return text;
}

std::string Communicator::LastCall() const {
  absl::MutexLock lock(&mutex_);
  if (calls_ == 0) return "none yet";
  return absl::StrCat("#", calls_, " ", recent_[(calls_ - 1) % kRemembered].description);
}

std::string Communicator::CallUnderWay() const {
  absl::MutexLock lock(&mutex_);
  return recent_[(calls_ - 1) % kRemembered].description;
}

int64_t Communicator::bytes_sent() const {
  absl::MutexLock lock(&mutex_);
  return sent_;
}

double Communicator::SecondsInCall() const {
  absl::MutexLock lock(&mutex_);
  if (calls_ == 0) return 0;
  const Call& last = recent_[(calls_ - 1) % kRemembered];
  return last.progress == Progress::kRunning ? Now() - last.started : 0;
}

absl::StatusOr<double> AllReduceScalar(Communicator& comm, absl::string_view what, double value, Reduction op) {
  PHOTON_RETURN_IF_ERROR(comm.AllReduce(what, Tensor::Wrap(&value, {1}, DType::kF64), op));
  return value;
}

absl::StatusOr<std::string> BroadcastString(Communicator& comm, absl::string_view what, std::string value, int root) {
  int64_t bytes = value.size();
  PHOTON_RETURN_IF_ERROR(comm.Broadcast(what, Tensor::Wrap(&bytes, {1}, DType::kI64), root));
  value.resize(bytes);
  if (bytes > 0) {
    PHOTON_RETURN_IF_ERROR(comm.Broadcast(what, Tensor::Wrap(value.data(), {bytes}, DType::kU8), root));
  }
  return value;
}

absl::Status AgreeOn(Communicator& comm, absl::string_view what, const absl::Status& status) {
  const double claim = status.ok() ? comm.size() : comm.rank();
  PHOTON_ASSIGN_OR_RETURN(const double lowest, AllReduceScalar(comm, what, claim, Reduction::kMin));
  if (lowest == comm.size()) return absl::OkStatus();
  const int failed = static_cast<int>(lowest);
  int64_t code = static_cast<int64_t>(status.code());
  PHOTON_RETURN_IF_ERROR(comm.Broadcast(what, Tensor::Wrap(&code, {1}, DType::kI64), failed));
  PHOTON_ASSIGN_OR_RETURN(const std::string message,
                          BroadcastString(comm, what, std::string(status.message()), failed));
  if (comm.rank() == failed) return status;
  return absl::Status(static_cast<absl::StatusCode>(code), absl::StrCat(message, " (on rank ", failed, ")"));
}

}  // namespace photon
