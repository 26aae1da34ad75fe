#include "core/cuda/staging_ring.h"

#include <algorithm>

#include "core/check.h"
#include "core/cuda/error.h"

namespace photon::cuda {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kMostPieces = 1024;  // small ones would be a quarter of a million, each with its event

}  // namespace

StagingRing::~StagingRing() {  // errors have been thrown by whoever met them first
  for (const Piece& piece : under_way_) {
    cudaEventSynchronize(piece.done);
    cudaEventDestroy(piece.done);
  }
  for (cudaEvent_t event : events_) cudaEventDestroy(event);
  if (memory_ != nullptr) cudaFreeHost(memory_);
}

void StagingRing::Retire() {
  const Piece oldest = under_way_.front();
  Check(cudaEventSynchronize(oldest.done), device_, "staging");
  under_way_.pop_front();
  events_.push_back(oldest.done);
}

void* StagingRing::Take(size_t bytes) {
  PHOTON_CHECK(bytes <= kPiece) << "[staging] a piece of " << bytes << " bytes";
  if (memory_ == nullptr) {
    Check(cudaHostAlloc(reinterpret_cast<void**>(&memory_), kBytes, cudaHostAllocDefault), device_,
          "allocating pinned memory for copies");
  }
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const size_t begin = head_ + rounded <= kBytes ? head_ : 0;
  const size_t end = begin + rounded;
  // Oldest first: what stood at the ring's end is older than what begins it.
  const auto overlaps = [&](const Piece& piece) { return piece.begin < end && begin < piece.end; };
  while (under_way_.size() >= kMostPieces || std::any_of(under_way_.begin(), under_way_.end(), overlaps)) Retire();
  taken_begin_ = begin;
  head_ = end;
  return memory_ + begin;
}

cudaEvent_t StagingRing::Used(cudaStream_t stream) {
  cudaEvent_t done;
  if (events_.empty()) {
    Check(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), device_, "staging");
  } else {
    done = events_.back();
    events_.pop_back();
  }
  under_way_.push_back({taken_begin_, head_, done});
  Check(cudaEventRecord(done, stream), device_, "staging");
  return done;
}

}  // namespace photon::cuda
