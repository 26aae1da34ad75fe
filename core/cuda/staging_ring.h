// Pinned host memory that bytes pass through between the host and the device.
//
// Copies of ordinary memory would wait for the stream; from pinned memory they run beside the host. Pieces are handed
// out in a ring, each with an event that says when the device is done with it. For one thread.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <deque>
#include <vector>

namespace photon::cuda {

class StagingRing {
 public:
  static constexpr size_t kBytes = 64ull << 20;
  // The largest piece: large enough for the bus's full speed, small enough for copies on both sides to overlap.
  static constexpr size_t kPiece = 4ull << 20;

  explicit StagingRing(int device) : device_(device) {}
  ~StagingRing();  // waits for the pieces under way
  StagingRing(const StagingRing&) = delete;
  StagingRing& operator=(const StagingRing&) = delete;

  // `bytes` (up to kPiece) of pinned memory, aligned to 256. Waits only where the device still uses all of the
  // ring, or very many pieces of it.
  // Its contents stay until kBytes - kPiece more were taken, even where the device was done with them.
  void* Take(size_t bytes);
  // The piece taken last is used by what was queued on `stream` up to now. The event says so for as long as this piece
  // is among the 16 taken last.
  cudaEvent_t Used(cudaStream_t stream);

 private:
  struct Piece {
    size_t begin, end;
    cudaEvent_t done;
  };
  void Retire();  // waits for the oldest piece

  const int device_;
  char* memory_ = nullptr;  // allocated at first use
  size_t head_ = 0;
  size_t taken_begin_ = 0;
  std::deque<Piece> under_way_;
  std::vector<cudaEvent_t> events_;  // free ones
};

}  // namespace photon::cuda
