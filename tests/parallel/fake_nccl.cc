#include "tests/parallel/fake_nccl.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/dtype.h"
#include "parallel/reduce.h"
#include "tests/simt/emulator/device_memory.h"

namespace photon::testing {
namespace {

using namespace photon::cuda;

// A meeting of all ranks: what the last one to come does, it does for all.
class Meeting {
 public:
  explicit Meeting(int ranks) : brought_(ranks) {}

  struct Brought {
    const void* in = nullptr;
    void* out = nullptr;
    int color = 0, key = 0;
    NcclComm made = nullptr;
  };
  // False where a rank was aborted.
  bool Meet(int rank, const Brought& brought, const std::function<void(std::vector<Brought>&)>& once, Brought* after) {
    absl::MutexLock lock(&mutex_);
    const int64_t round = round_;
    brought_[rank] = brought;
    if (++arrived_ == static_cast<int>(brought_.size())) {
      once(brought_);
      results_ = brought_;
      arrived_ = 0;
      ++round_;
    }
    const auto over = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return round_ != round || aborted_; };
    mutex_.Await(absl::Condition(&over));
    if (after != nullptr) *after = results_[rank];
    return !aborted_;
  }
  void Abort() {
    absl::MutexLock lock(&mutex_);
    aborted_ = true;
  }

 private:
  absl::Mutex mutex_;
  std::vector<Brought> brought_, results_;
  int arrived_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  bool aborted_ ABSL_GUARDED_BY(mutex_) = false;
};

std::atomic<NcclResult> late_error = kNcclSuccess;
std::atomic<int> aborted = 0;
std::atomic<int> next_id = 1;

std::shared_ptr<Meeting> MeetingOf(const NcclUniqueId& id, int ranks) {
  static absl::Mutex mutex;
  static std::map<int, std::shared_ptr<Meeting>> meetings;
  int number = 0;
  std::memcpy(&number, id.bytes, sizeof(number));
  absl::MutexLock lock(&mutex);
  std::shared_ptr<Meeting>& meeting = meetings[number];
  if (meeting == nullptr) meeting = std::make_shared<Meeting>(ranks);
  return meeting;
}

}  // namespace
}  // namespace photon::testing

struct photon::cuda::ncclComm {
  std::shared_ptr<photon::testing::Meeting> meeting;
  int rank, ranks;
};

namespace photon::testing {
namespace {

DType TypeOf(NcclType type) {
  switch (type) {
    case kNcclFloat64:
      return DType::kF64;
    case kNcclFloat32:
      return DType::kF32;
    case kNcclBfloat16:
      return DType::kBF16;
    case kNcclInt64:
      return DType::kI64;
    case kNcclInt32:
      return DType::kI32;
    default:
      return DType::kU8;
  }
}

using Once = std::function<void(std::vector<Meeting::Brought>&)>;

NcclResult Queue(NcclComm comm, const void* in, void* out, cudaStream_t stream, Once once) {
  struct Job {
    std::shared_ptr<Meeting> meeting;
    int rank;
    Meeting::Brought brought;
    Once once;
  };
  auto* job = new Job{comm->meeting, comm->rank, {.in = in, .out = out}, std::move(once)};
  const auto run = [](void* data) {
    const std::unique_ptr<Job> job(static_cast<Job*>(data));
    job->meeting->Meet(
        job->rank, job->brought,
        [&](std::vector<Meeting::Brought>& all) {
          const simt::DeviceAccess access;
          job->once(all);
        },
        nullptr);
  };
  return cudaLaunchHostFunc(stream, run, job) == cudaSuccess ? kNcclSuccess : static_cast<NcclResult>(1);
}

std::vector<const void*> InputsAt(const std::vector<Meeting::Brought>& all, size_t offset) {
  std::vector<const void*> inputs;
  for (const Meeting::Brought& b : all) inputs.push_back(static_cast<const char*>(b.in) + offset);
  return inputs;
}

NcclResult GetVersion(int* version) {
  *version = 22809;
  return kNcclSuccess;
}
NcclResult GetUniqueId(NcclUniqueId* id) {
  const int number = next_id++;
  std::memcpy(id->bytes, &number, sizeof(number));
  return kNcclSuccess;
}
NcclResult CommInitRank(NcclComm* comm, int ranks, NcclUniqueId id, int rank) {
  *comm = new ncclComm{MeetingOf(id, ranks), rank, ranks};
  return kNcclSuccess;
}
NcclResult CommSplit(NcclComm comm, int color, int key, NcclComm* made, void*) {
  Meeting::Brought mine;
  const auto split = [](std::vector<Meeting::Brought>& all) {
    std::map<int, std::vector<int>> members;
    for (size_t r = 0; r < all.size(); ++r) members[all[r].color].push_back(static_cast<int>(r));
    members.erase(kNcclNoColor);
    for (auto& [color, ranks] : members) {
      std::stable_sort(ranks.begin(), ranks.end(), [&](int a, int b) { return all[a].key < all[b].key; });
      const int size = static_cast<int>(ranks.size());
      const auto meeting = std::make_shared<Meeting>(size);
      for (int r = 0; r < size; ++r) all[ranks[r]].made = new ncclComm{meeting, r, size};
    }
  };
  comm->meeting->Meet(comm->rank, {.color = color, .key = key}, split, &mine);
  *made = mine.made;
  return kNcclSuccess;
}
NcclResult CommDestroy(NcclComm comm) {
  delete comm;
  return kNcclSuccess;
}
NcclResult CommAbort(NcclComm comm) {
  comm->meeting->Abort();
  ++aborted;
  return kNcclSuccess;
}
NcclResult CommGetAsyncError(NcclComm, NcclResult* error) {
  *error = late_error;
  return kNcclSuccess;
}
const char* GetErrorString(NcclResult) { return "remote process exited or there was a network error"; }
const char* GetLastError(NcclComm) { return "socket closed by peer"; }

NcclResult AllReduce(const void* in, void* out, size_t count, NcclType type, NcclOperation, NcclComm comm,
                     cudaStream_t stream) {
  return Queue(comm, in, out, stream, [=](std::vector<Meeting::Brought>& all) {
    const DType dtype = TypeOf(type);
    std::vector<char> sum(count * ByteSize(dtype));
    Reduce(dtype, Reduction::kSum, InputsAt(all, 0), static_cast<int64_t>(count), sum.data());
    for (const Meeting::Brought& b : all) std::memcpy(b.out, sum.data(), sum.size());
  });
}
NcclResult ReduceScatter(const void* in, void* out, size_t count, NcclType type, NcclOperation, NcclComm comm,
                         cudaStream_t stream) {
  return Queue(comm, in, out, stream, [=](std::vector<Meeting::Brought>& all) {
    const DType dtype = TypeOf(type);
    const size_t bytes = count * ByteSize(dtype);
    std::vector<char> sums(bytes * all.size());
    for (size_t r = 0; r < all.size(); ++r) {
      Reduce(dtype, Reduction::kSum, InputsAt(all, r * bytes), static_cast<int64_t>(count), &sums[r * bytes]);
    }
    for (size_t r = 0; r < all.size(); ++r) std::memcpy(all[r].out, &sums[r * bytes], bytes);
  });
}
NcclResult AllGather(const void* in, void* out, size_t count, NcclType type, NcclComm comm, cudaStream_t stream) {
  return Queue(comm, in, out, stream, [=](std::vector<Meeting::Brought>& all) {
    const size_t bytes = count * ByteSize(TypeOf(type));
    std::vector<char> whole(bytes * all.size());
    for (size_t r = 0; r < all.size(); ++r) std::memcpy(&whole[r * bytes], all[r].in, bytes);
    for (const Meeting::Brought& b : all) std::memcpy(b.out, whole.data(), whole.size());
  });
}
NcclResult Broadcast(const void* in, void* out, size_t count, NcclType type, int root, NcclComm comm,
                     cudaStream_t stream) {
  return Queue(comm, in, out, stream, [=](std::vector<Meeting::Brought>& all) {
    const size_t bytes = count * ByteSize(TypeOf(type));
    for (size_t r = 0; r < all.size(); ++r) {
      if (static_cast<int>(r) != root) std::memcpy(all[r].out, all[root].in, bytes);
    }
  });
}

}  // namespace

const NcclApi& FakeNccl() {
  static const NcclApi kApi = {GetVersion,    GetUniqueId,       CommInitRank,   CommSplit,    CommDestroy,
                               CommAbort,     CommGetAsyncError, GetErrorString, GetLastError, AllReduce,
                               ReduceScatter, AllGather,         Broadcast};
  return kApi;
}
void FailNccl(NcclResult error) { late_error = error; }
int AbortedNccl() { return aborted; }

}  // namespace photon::testing
