// MPI. Reductions are our own, over point-to-point calls: MPI has no bf16, leaves the order of a sum open, and Open MPI
// 4.1's reduce-scatter is 4-5 times slower than a plain exchange.
#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>

#include "absl/strings/str_cat.h"
#include "core/time.h"
#include "parallel/communicator.h"
#include "parallel/mpi_posts.h"
#include "parallel/mpi_side_channel.h"
#include "parallel/mpi_status.h"
#include "parallel/reduce.h"

namespace photon {
namespace {

// Below this many bytes over all ranks one call that gathers everything beats two rounds of messages.
constexpr int64_t kGatherBytes = 64 << 10;
// A reduction goes in pieces that stay in the cache between arriving and being added: bytes of one rank's share.
constexpr int64_t kPieceBytes = 256 << 10;
constexpr int kExchangeTag = Communicator::kTags;
// Types of equal size: nothing is computed by MPI.
MPI_Datatype MpiType(DType dtype) {
  switch (ByteSize(dtype)) {
    case 8:
      return MPI_UINT64_T;
    case 4:
      return MPI_UINT32_T;
    case 2:
      return MPI_UINT16_T;
    default:
      return MPI_BYTE;
  }
}

class MpiCommunicator : public Communicator {
 public:
  // Takes `comm` over.
  MpiCommunicator(MPI_Comm comm, int64_t max_count, bool background = false)
      : comm_(comm), max_count_(max_count), background_(background), posts_(std::make_unique<MpiPosts>(comm)) {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiCommunicator() override {
    posts_.reset();  // before the group that it sends over
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  absl::string_view name() const override { return "mpi"; }

  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    MPI_Comm part;
    PHOTON_MPI(MPI_Comm_split(comm_, color, key, &part));
    return std::make_unique<MpiCommunicator>(part, max_count_);
  }

  absl::StatusOr<std::unique_ptr<Communicator>> ForBackground() override {
    MPI_Comm twin;
    PHOTON_MPI(MPI_Comm_dup(comm_, &twin));
    return std::make_unique<MpiCommunicator>(twin, max_count_, /*background=*/true);
  }

  absl::StatusOr<std::unique_ptr<SideChannel>> OpenSideChannel() override {
    MPI_Comm twin;
    PHOTON_MPI(MPI_Comm_dup(comm_, &twin));
    return MpiSideChannel(twin);
  }

  void Abort(int exit_code) override {
    std::fflush(nullptr);
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 protected:
  absl::Status DoAllReduce(const Tensor& tensor, Reduction op) override {
    if (size_ == 1) return absl::OkStatus();
    // MPI_Allgather waits awake: not beside a thread that computes.
    if (!background_ && static_cast<int64_t>(tensor.bytes()) * size_ <= kGatherBytes &&
        tensor.elements() <= max_count_) {
      return GatherAndReduce(tensor, op);
    }
    const int64_t piece = Share(tensor.dtype()) * size_;
    for (int64_t begin = 0; begin < tensor.elements(); begin += piece) {
      const int64_t count = std::min(piece, tensor.elements() - begin);
      const auto block = [&](int rank) {
        const int64_t first = count * rank / size_;
        return Block{begin + first, count * (rank + 1) / size_ - first};
      };
      PHOTON_RETURN_IF_ERROR(ReduceOwnBlock(tensor, block, op, At(tensor, block(rank_).begin)));
      PHOTON_RETURN_IF_ERROR(CollectBlocks(tensor, block));
    }
    return absl::OkStatus();
  }

  absl::Status DoReduceScatter(const Tensor& whole, const Tensor& part) override {
    const int64_t share = Share(part.dtype());
    for (int64_t begin = 0; begin < part.elements(); begin += share) {
      const int64_t count = std::min(share, part.elements() - begin);
      const auto block = [&](int rank) { return Block{rank * part.elements() + begin, count}; };
      PHOTON_RETURN_IF_ERROR(ReduceOwnBlock(whole, block, Reduction::kSum, At(part, begin)));
    }
    return absl::OkStatus();
  }

  absl::Status DoAllGather(const Tensor& part, const Tensor& whole) override {
    char* own = At(whole, rank_ * part.elements());
    if (own != part.raw()) std::memcpy(own, part.raw(), part.bytes());
    const MPI_Datatype type = MpiType(part.dtype());
    if (part.elements() <= max_count_) {
      const int count = static_cast<int>(part.elements());
      return MpiStatus(MPI_Allgather(MPI_IN_PLACE, 0, type, whole.raw(), count, type, comm_), "MPI_Allgather");
    }
    for (int r = 0; r < size_; ++r) {
      PHOTON_RETURN_IF_ERROR(ForPieces(At(whole, r * part.elements()), part, [&](char* data, int count) {
        return MpiStatus(MPI_Bcast(data, count, type, r, comm_), "MPI_Bcast");
      }));
    }
    return absl::OkStatus();
  }

  absl::Status DoBroadcast(const Tensor& tensor, int root) override {
    return ForPieces(At(tensor, 0), tensor, [&](char* data, int count) {
      return MpiStatus(MPI_Bcast(data, count, MpiType(tensor.dtype()), root, comm_), "MPI_Bcast");
    });
  }

  absl::Status DoSend(const Tensor& tensor, int to, int tag) override {
    return ForPieces(At(tensor, 0), tensor, [&](char* data, int count) {
      return MpiStatus(MPI_Send(data, count, MpiType(tensor.dtype()), to, tag, comm_), "MPI_Send");
    });
  }

  absl::Status DoPost(const Tensor& tensor, int to, int tag) override {
    return ForPieces(At(tensor, 0), tensor, [&](char* data, int count) {
      return posts_->Send(tensor, data, count, MpiType(tensor.dtype()), to, tag);
    });
  }

  absl::Status DoFinishPosts() override { return posts_->Finish(); }

  absl::Status DoReceive(const Tensor& tensor, int from, int tag) override {
    return ForPieces(At(tensor, 0), tensor, [&](char* data, int count) {
      MPI_Request request;
      MPI_Status status;
      PHOTON_MPI(MPI_Irecv(data, count, MpiType(tensor.dtype()), from, tag, comm_, &request));
      PHOTON_MPI(WaitLong(request, status));
      return CheckArrived(status, tensor.dtype(), count);
    });
  }

  absl::Status DoBarrier() override { return MpiStatus(MPI_Barrier(comm_), "MPI_Barrier"); }

 private:
  struct Block {
    int64_t begin, count;  // elements
  };

  static char* At(const Tensor& tensor, int64_t element) {
    return static_cast<char*>(tensor.raw()) + element * ByteSize(tensor.dtype());
  }

  // Elements of one rank's block in a piece of a reduction.
  int64_t Share(DType dtype) const {
    return std::clamp<int64_t>(kPieceBytes / static_cast<int64_t>(ByteSize(dtype)), 1, max_count_);
  }

  // f(pointer, count) over as many elements as `like` has, at least once: an empty message is a message too.
  template <typename F>
  absl::Status ForPieces(char* data, const Tensor& like, F&& f) {
    int64_t begin = 0;
    do {
      const int64_t count = std::min(max_count_, like.elements() - begin);
      PHOTON_RETURN_IF_ERROR(f(data + begin * ByteSize(like.dtype()), static_cast<int>(count)));
      begin += count;
    } while (begin < like.elements());
    return absl::OkStatus();
  }

  absl::Status CheckArrived(const MPI_Status& status, DType dtype, int64_t wanted) {
    int got = 0;
    PHOTON_MPI(MPI_Get_count(&status, MpiType(dtype), &got));
    if (got == wanted) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("rank ", status.MPI_SOURCE, " sent ", got, " elements, not ", wanted));
  }

  absl::Status GatherAndReduce(const Tensor& tensor, Reduction op) {
    scratch_.resize(size_ * tensor.bytes());
    const MPI_Datatype type = MpiType(tensor.dtype());
    const int count = static_cast<int>(tensor.elements());
    PHOTON_MPI(MPI_Allgather(tensor.raw(), count, type, scratch_.data(), count, type, comm_));
    std::vector<const void*> inputs;
    for (int r = 0; r < size_; ++r) inputs.push_back(scratch_.data() + r * tensor.bytes());
    Reduce(tensor.dtype(), op, inputs, tensor.elements(), tensor.raw());
    return absl::OkStatus();
  }

  // Every rank sends block(r) of `tensor` to rank r, for all r, and reduces what it gets, in rank order, into `out`.
  template <typename BlockOf>
  absl::Status ReduceOwnBlock(const Tensor& tensor, BlockOf&& block, Reduction op, void* out) {
    const Block own = block(rank_);
    const int64_t bytes = own.count * ByteSize(tensor.dtype());
    scratch_.resize(size_ * bytes);
    std::vector<const void*> inputs;
    for (int r = 0; r < size_; ++r) {
      inputs.push_back(r == rank_ ? At(tensor, own.begin) : scratch_.data() + r * bytes);
    }
    PHOTON_RETURN_IF_ERROR(SwapWithAll(
        tensor, block, [&](int) { return own.count; }, [&](int r) { return scratch_.data() + r * bytes; }));
    Reduce(tensor.dtype(), op, inputs, own.count, out);
    return absl::OkStatus();
  }

  // Every rank has block(rank) of `tensor`; afterwards all have all.
  template <typename BlockOf>
  absl::Status CollectBlocks(const Tensor& tensor, BlockOf&& block) {
    return SwapWithAll(
        tensor, [&](int) { return block(rank_); }, [&](int r) { return block(r).count; },
        [&](int r) { return At(tensor, block(r).begin); });
  }

  // Sends outgoing(r) of `tensor` to every other rank r, and receives count(r) elements from it at place(r).
  template <typename Outgoing, typename Count, typename Place>
  absl::Status SwapWithAll(const Tensor& tensor, Outgoing&& outgoing, Count&& count, Place&& place) {
    const MPI_Datatype type = MpiType(tensor.dtype());
    std::vector<MPI_Request> requests(2 * (size_ - 1));
    for (int i = 1; i < size_; ++i) {
      const int from = (rank_ + size_ - i) % size_;
      PHOTON_MPI(
          MPI_Irecv(place(from), static_cast<int>(count(from)), type, from, kExchangeTag, comm_, &requests[i - 1]));
    }
    for (int i = 1; i < size_; ++i) {
      const int to = (rank_ + i) % size_;  // not all to rank 0 first
      const Block block = outgoing(to);
      PHOTON_MPI(MPI_Isend(At(tensor, block.begin), static_cast<int>(block.count), type, to, kExchangeTag, comm_,
                           &requests[size_ - 2 + i]));
    }
    return WaitForAll(requests, tensor.dtype(), count);
  }

  // MPI_Wait for what may take as long as another rank computes (pipelines). MPI_Recv keeps its core busy all the time,
  // and where ranks share cores that is the computing rank's: so it looks closely for a while, and then sleeps between
  // looks.
  static int WaitLong(MPI_Request& request, MPI_Status& status) {
    constexpr double kAwakeSeconds = 200e-6;
    const double start = Now();
    while (true) {
      int done = 0;
      const int code = MPI_Test(&request, &done, &status);
      if (code != MPI_SUCCESS || done) return code;
      if (Now() - start < kAwakeSeconds) {
        sched_yield();
      } else {
        nanosleep(&kMpiPause, nullptr);
      }
    }
  }

  // MPI_Waitall that sleeps between looks. Open MPI's own keeps its core busy, and takes half of it from a thread that
  // computes there.
  static int SleepForAll(std::vector<MPI_Request>& requests, std::vector<MPI_Status>& statuses) {
    while (true) {
      int done = 0;
      const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, statuses.data());
      if (code != MPI_SUCCESS || done) return code;
      nanosleep(&kMpiPause, nullptr);
    }
  }

  template <typename Count>
  absl::Status WaitForAll(std::vector<MPI_Request>& requests, DType dtype, Count&& count) {
    std::vector<MPI_Status> statuses(requests.size());
    const int code = background_ ? SleepForAll(requests, statuses)
                                 : MPI_Waitall(static_cast<int>(requests.size()), requests.data(), statuses.data());
    if (code == MPI_ERR_IN_STATUS) {
      for (const MPI_Status& status : statuses) {
        PHOTON_RETURN_IF_ERROR(MpiStatus(status.MPI_ERROR, "MPI_Waitall"));
      }
    }
    PHOTON_RETURN_IF_ERROR(MpiStatus(code, "MPI_Waitall"));
    for (int i = 0; i < size_ - 1; ++i) {
      PHOTON_RETURN_IF_ERROR(CheckArrived(statuses[i], dtype, count(statuses[i].MPI_SOURCE)));
    }
    return absl::OkStatus();
  }

  MPI_Comm comm_;
  int64_t max_count_;
  bool background_;
  int rank_ = 0;
  int size_ = 1;
  std::unique_ptr<MpiPosts> posts_;
  std::vector<char> scratch_;  // keeps its memory from call to call
};

// Settings without which Open MPI is slow or noisy here; whatever the user or launch/mpi_env.sh set stays.
void SetDefaults() {
  // Ranks that share cores and do not yield take 1000 times longer per collective.
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", /*overwrite=*/0);
  const bool launched = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMIX_RANK") != nullptr ||
                        std::getenv("PMI_RANK") != nullptr;
  if (launched) return;
  // A process alone would start a daemon and probe for networks: 0.3 s instead of 0.02 s.
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  setenv("OMPI_MCA_pml", "ob1", 0);
  setenv("OMPI_MCA_btl", "self", 0);
}

void FinalizeOnSuccess(int exit_code, void*) {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (exit_code == 0 && !finalized) MPI_Finalize();
}

absl::Status Initialize() {
  int initialized = 0, provided = MPI_THREAD_MULTIPLE;
  MPI_Initialized(&initialized);
  if (initialized) {
    MPI_Query_thread(&provided);
  } else {
    SetDefaults();
    PHOTON_RETURN_IF_ERROR(MpiStatus(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init"));
    on_exit(FinalizeOnSuccess, nullptr);
  }
  if (provided < MPI_THREAD_MULTIPLE) {
    return absl::FailedPreconditionError("this MPI offers no MPI_THREAD_MULTIPLE: use one that was built with it");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> MpiWorld(int64_t max_count) {
  PHOTON_CHECK(max_count >= 1 && max_count <= INT32_MAX) << max_count;
  static const absl::Status initialized = Initialize();  // once in a process: MPI cannot start again
  PHOTON_RETURN_IF_ERROR(initialized);
  MPI_Comm world;
  PHOTON_RETURN_IF_ERROR(MpiStatus(MPI_Comm_dup(MPI_COMM_WORLD, &world), "MPI_Comm_dup"));
  return std::make_unique<MpiCommunicator>(world, max_count);
}

}  // namespace photon
