// A group of ranks and the collectives on it.
//
// One interface for a single process, threads of one process, MPI and NCCL. Calls on one communicator happen in the
// same order on all its ranks, from one thread at a time. They are ordered like operations on the tensors' device: done
// on return on the CPU, queued on a GPU. The public functions check arguments and keep a ring of the last calls, so
// that a mismatch or a hang can name the rank, the collective and the tensor; implementations override the Do*
// functions and may assume what was checked. Overlap with compute is layered above (a communicator of its own for a
// second thread).
//
// Every implementation takes sums in rank order, bf16 in f32 with one rounding at the end: the result is bitwise the
// same on all ranks, in every run, and over threads, MPI and TCP alike. NaN wins over any number in kMax and kMin. NCCL
// alone adds in an order of its own: the same on all ranks and in every run of one topology, but not that of the
// others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "core/status.h"
#include "core/tensor.h"
#include "parallel/side_channel.h"

namespace photon {

enum class Reduction : uint8_t { kSum, kMax, kMin };

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual absl::string_view name() const = 0;  // "mpi", "self", ..: for messages

  // `what` names the tensor or purpose in messages. Tensors are contiguous, of any dtype. `part` may be exactly its
  // place in `whole` (part number rank()), and overlaps it in no other way. Tags are in [0, kTags). Errors: kInternal
  // for arguments that do not fit each other or those of other ranks (of the latter, MPI and NCCL notice what they
  // trip over: ranks that are threads, and dry runs, notice all), kUnavailable for a transport that failed.
  static constexpr int kTags = 32767;  // the least upper bound that MPI allows, less one for our own use
  absl::Status AllReduce(absl::string_view what, const Tensor& tensor, Reduction op);           // in place
  absl::Status AllGather(absl::string_view what, const Tensor& part, const Tensor& whole);      // whole: size() parts
  absl::Status ReduceScatter(absl::string_view what, const Tensor& whole, const Tensor& part);  // sum
  absl::Status Broadcast(absl::string_view what, const Tensor& tensor, int root);
  absl::Status Send(absl::string_view what, const Tensor& tensor, int to, int tag);
  absl::Status Receive(absl::string_view what, const Tensor& tensor, int from, int tag);
  // Like Send, but waits for nobody: the tensor is kept, and must stay as it is, until it has gone.
  absl::Status Post(absl::string_view what, const Tensor& tensor, int to, int tag);
  absl::Status FinishPosts();  // waits until all that was posted has gone
  absl::Status Barrier(absl::string_view what);

  // Bytes of tensors that this rank has sent so far (parallel/traffic.h). Any thread.
  int64_t bytes_sent() const;

  // Ranks with the same color (0 or more) form a new group, ordered by key, then rank. All ranks call it.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) = 0;
  // The same ranks again, for a second thread of each that reduces while the first computes. Reductions that
  // wait for other ranks give the core to that computation; other calls need not. All ranks call it.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> ForBackground() { return Split(0, rank()); }
  // Messages beside the collectives, for a watchdog; null where the transport has none. All ranks call it.
  virtual absl::StatusOr<std::unique_ptr<SideChannel>> OpenSideChannel() { return nullptr; }
  // Ends the whole job, on every rank, without waiting for anybody.
  [[noreturn]] virtual void Abort(int exit_code) = 0;

  // The last calls, oldest first, one a line: "#12 all-reduce gradients f32[100] done". Any thread.
  virtual std::string RecentCalls() const;
  // The call under way, or else the last one, without how it stands: "#12 all-reduce gradients f32[100]". Any thread.
  virtual std::string LastCall() const;
  // Seconds that the call under way has taken; 0 where none is. Any thread: for a watchdog.
  virtual double SecondsInCall() const;
  // An error that came after a call had returned: of calls that are only queued. Any thread.
  virtual absl::Status LateError() const { return absl::OkStatus(); }

 protected:
  virtual absl::Status DoAllReduce(const Tensor& tensor, Reduction op) = 0;
  virtual absl::Status DoAllGather(const Tensor& part, const Tensor& whole) = 0;
  virtual absl::Status DoReduceScatter(const Tensor& whole, const Tensor& part) = 0;
  virtual absl::Status DoBroadcast(const Tensor& tensor, int root) = 0;
  virtual absl::Status DoSend(const Tensor& tensor, int to, int tag) = 0;
  virtual absl::Status DoReceive(const Tensor& tensor, int from, int tag) = 0;
  virtual absl::Status DoBarrier() = 0;
  // By default for transports whose Send does not wait for the receiver.
  virtual absl::Status DoPost(const Tensor& tensor, int to, int tag) { return DoSend(tensor, to, tag); }
  virtual absl::Status DoFinishPosts() { return absl::OkStatus(); }
  // Which tensors it can move. Small host values (counts, losses, signals) go over the same groups as gradients do, so
  // a group of GPUs reaches the host's memory too, through a twin of its own.
  virtual bool Reaches(DeviceType device) const { return device == DeviceType::kCpu; }
  // The call that is under way, for a Do* function: "all-reduce gradients f32[100]".
  std::string CallUnderWay() const;

 private:
  enum class Progress : uint8_t { kRunning, kDone, kFailed };
  struct Call {
    std::string description;
    double started = 0;  // seconds of the steady clock
    Progress progress = Progress::kRunning;
  };
  // Enters the call in the ring, runs `check` and, where that is OK, `body`; errors get rank and call in front.
  // `sends`: the bytes that are counted where it went well.
  template <typename Check, typename Body>
  absl::Status Run(absl::string_view call, absl::string_view what, const Tensor* tensor, int64_t sends, Check&& check,
                   Body&& body);
  absl::Status CheckTensor(const Tensor& tensor) const;
  absl::Status CheckParts(const Tensor& part, const Tensor& whole) const;
  absl::Status CheckPeer(int peer, int tag) const;

  static constexpr int kRemembered = 16;
  mutable absl::Mutex mutex_;
  int64_t calls_ = 0;
  int64_t sent_ = 0;
  std::vector<Call> recent_;
};

// Small values that every rank must agree on, over any communicator.
absl::StatusOr<double> AllReduceScalar(Communicator& comm, absl::string_view what, double value, Reduction op);
absl::StatusOr<std::string> BroadcastString(Communicator& comm, absl::string_view what, std::string value, int root);
// OK where every rank passes OK. Else the lowest failing rank's status on every rank: nobody goes on alone.
absl::Status AgreeOn(Communicator& comm, absl::string_view what, const absl::Status& status);

// A group of one. Every collective is the identity.
std::unique_ptr<Communicator> SelfCommunicator();

// `count` ranks that are threads of this process (tests, dry runs): communicator i is for thread i.
std::vector<std::unique_ptr<Communicator>> ThreadCommunicators(int count);

// All processes of the job (a duplicate of MPI_COMM_WORLD); under no launcher a group of one. MPI is initialised with
// MPI_THREAD_MULTIPLE on first use, and finalised when the process exits with 0. A process that exits with another code
// leaves without: the launcher then ends the other ranks, which would else wait for it. Errors leave as Status.
// MPI counts elements by int: tensors above `max_count` go in pieces. (Tests make it small.)
absl::StatusOr<std::unique_ptr<Communicator>> MpiWorld(int64_t max_count = int64_t{1} << 30);

// Processes that no MPI connects: each knows its rank, and all reach one folder, in which they find each other's
// address. They talk over TCP, every rank with every other.
struct FileWorldOptions {
  std::string folder;
  std::string job;  // names the files; a name serves once
  int rank = 0, size = 1;
  double timeout_s = 600;         // for meeting, and for every call: then kUnavailable
  std::string network_interface;  // "eth0"; empty: the one of the host's name
};
absl::StatusOr<std::unique_ptr<Communicator>> FileWorld(const FileWorldOptions& options);

}  // namespace photon
