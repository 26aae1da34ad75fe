// Copies between host and device, in pieces through pinned memory.
#include <algorithm>
#include <cstring>
#include <deque>

#include "core/check.h"
#include "core/cuda/error.h"
#include "core/cuda/kernels.h"
#include "core/cuda/queue.h"
#include "core/cuda/staging_ring.h"

namespace photon::cuda {
namespace {

void RefuseInRecording(const Context& context, const char* operation) {
  PHOTON_CHECK(!QueueOf(context).recording)
      << "[" << operation << "] inside recorded operations: a graph can't wait, nor copy to or from the host";
}

// A piece on its way to the host.
struct Download {
  cudaEvent_t arrived;
  const void* staged;
  char* host;
  size_t bytes;
};

void Finish(const Context& context, const Download& download) {
  Check(cudaEventSynchronize(download.arrived), context, "copy_to_host");
  std::memcpy(download.host, download.staged, download.bytes);
}

}  // namespace

void CopyToHost(const Context& context, const Tensor& tensor, void* host) {
  RefuseInRecording(context, "copy_to_host");
  const Queue& queue = QueueOf(context);
  // The device fills one piece while the host empties the one before it. Waiting for the last waits for all that was
  // queued before.
  constexpr size_t kUnderWay = 3;
  static_assert((kUnderWay + 2) * StagingRing::kPiece <= StagingRing::kBytes);
  std::deque<Download> under_way;
  for (size_t begin = 0; begin < tensor.bytes(); begin += StagingRing::kPiece) {
    const size_t bytes = std::min(StagingRing::kPiece, tensor.bytes() - begin);
    void* staged = queue.staging->Take(bytes);
    Check(cudaMemcpyAsync(staged, static_cast<const char*>(tensor.raw()) + begin, bytes, cudaMemcpyDeviceToHost,
                          queue.stream),
          context, "copy_to_host");
    under_way.push_back({queue.staging->Used(queue.stream), staged, static_cast<char*>(host) + begin, bytes});
    if (under_way.size() < kUnderWay) continue;
    Finish(context, under_way.front());
    under_way.pop_front();
  }
  for (const Download& download : under_way) Finish(context, download);
}

void CopyFromHost(const Context& context, const void* host, const Tensor& tensor) {
  RefuseInRecording(context, "copy_from_host");
  const Queue& queue = QueueOf(context);
  for (size_t begin = 0; begin < tensor.bytes(); begin += StagingRing::kPiece) {
    const size_t bytes = std::min(StagingRing::kPiece, tensor.bytes() - begin);
    void* staged = queue.staging->Take(bytes);
    std::memcpy(staged, static_cast<const char*>(host) + begin, bytes);
    Check(
        cudaMemcpyAsync(static_cast<char*>(tensor.raw()) + begin, staged, bytes, cudaMemcpyHostToDevice, queue.stream),
        context, "copy_from_host");
    queue.staging->Used(queue.stream);
  }
}

void Synchronize(const Context& context) {
  RefuseInRecording(context, "synchronize");
  Check(cudaStreamSynchronize(QueueOf(context).stream), context, "synchronize");
}

void Zero(const Context& context, const Tensor& tensor) {
  if (tensor.bytes() == 0) return;
  Check(cudaMemsetAsync(tensor.raw(), 0, tensor.bytes(), QueueOf(context).stream), context, "zero");
}

}  // namespace photon::cuda
