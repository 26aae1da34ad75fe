#include "parallel/mpi_side_channel.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <list>

namespace photon {
namespace {

class MpiChannel : public SideChannel {
 public:
  explicit MpiChannel(MPI_Comm comm) : comm_(comm) {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiChannel() override {
    // A message to a rank that never took it would be cancelled at most after an end of MPI that waits for that rank.
    DropSent();
    for (Outgoing& out : sent_) MPI_Request_free(&out.request);
    if (!sent_.empty()) new std::list<Outgoing>(std::move(sent_));  // MPI may still read them: never given back
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void Send(int to, absl::string_view text) override {
    DropSent();
    Outgoing& out = sent_.emplace_back();
    std::memcpy(out.bytes.data(), text.data(), std::min<size_t>(text.size(), kBytes - 1));
    MPI_Isend(out.bytes.data(), kBytes, MPI_BYTE, to, 0, comm_, &out.request);
  }

  std::optional<Message> Poll() override {
    constexpr int kLooks = 4;  // a look may do no more than take in what the next one finds
    for (int look = 0; look < kLooks; ++look) {
      int there = 0;
      MPI_Status status;
      if (MPI_Iprobe(MPI_ANY_SOURCE, 0, comm_, &there, &status) != MPI_SUCCESS) return std::nullopt;
      if (!there) continue;
      std::array<char, kBytes> bytes;
      if (MPI_Recv(bytes.data(), kBytes, MPI_BYTE, status.MPI_SOURCE, 0, comm_, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
        return std::nullopt;
      }
      return Message{status.MPI_SOURCE, std::string(bytes.data(), strnlen(bytes.data(), kBytes))};
    }
    return std::nullopt;
  }

 private:
  struct Outgoing {
    std::array<char, kBytes> bytes = {};
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void DropSent() {
    sent_.remove_if([](Outgoing& out) {
      int gone = 1;
      MPI_Test(&out.request, &gone, MPI_STATUS_IGNORE);
      return gone != 0;
    });
  }

  MPI_Comm comm_;
  int rank_ = 0, size_ = 1;
  std::list<Outgoing> sent_;  // stays where it is
};

}  // namespace

std::unique_ptr<SideChannel> MpiSideChannel(MPI_Comm comm) { return std::make_unique<MpiChannel>(comm); }

}  // namespace photon
