#include "tests/simt/emulator/stream.h"

#include <set>
#include <utility>

#include "tests/simt/emulator/device_memory.h"
#include "tests/simt/emulator/failure.h"
#include "tests/simt/emulator/runtime.h"

namespace photon::simt {
namespace {

std::atomic<Queueing> queueing = Queueing::kLate;
std::atomic<cudaError_t> device_error = cudaSuccess;
std::atomic<int> global_captures = 0;
thread_local std::set<Capture*> unsafe_captures;  // of this thread, other than relaxed

struct Streams {
  std::mutex mutex;
  std::set<cudaStream_t> all;
};
Streams& Living() {
  static Streams* const streams = new Streams;
  return *streams;
}

bool Known(cudaStream_t stream) {
  std::lock_guard lock(Living().mutex);
  return Living().all.contains(stream);
}

// False: nothing was left to run.
bool RunOne(cudaStream_t stream) {
  std::lock_guard lock(stream->mutex);
  if (stream->work.empty()) return false;
  const Work work = std::move(stream->work.front());
  stream->work.pop_front();
  DeviceAccess access;
  work();
  return true;
}

// The device is opened once for all.
void RunAll(cudaStream_t stream) {
  DeviceAccess access;
  while (RunOne(stream)) {
  }
}

void RunUntil(const Mark& mark) {
  DeviceAccess access;
  while (!mark.reached) {
    if (!RunOne(mark.stream)) Fail("an event was never reached");
  }
}

// The default stream is ordered with everything: what is queued on it runs after all that was queued before, at once.
cudaError_t QueueOnDefault(Work work) {
  FinishDevice(CurrentDevice());
  DeviceAccess access;
  work();
  return cudaSuccess;
}

void Merge(Before& into, const Before& from) {
  for (const auto& [stream, count] : from) into[stream] = std::max(into[stream], count);
}

void Leave(Capture& capture) {
  for (const auto& [stream, before] : capture.streams) stream->capture = nullptr;
  unsafe_captures.erase(&capture);
  if (capture.mode == cudaStreamCaptureModeGlobal) --global_captures;
}

}  // namespace

void SetQueueing(Queueing value) { queueing = value; }
void SetDeviceError(cudaError_t error) { device_error = error; }
cudaError_t DeviceError() { return device_error; }

cudaError_t Queue(cudaStream_t stream, Work work) {
  if (device_error != cudaSuccess) return device_error;
  if (stream == nullptr) return QueueOnDefault(std::move(work));
  if (!Known(stream)) return cudaErrorInvalidResourceHandle;
  if (const std::shared_ptr<Capture> capture = stream->capture) {
    if (capture->invalidated) return cudaErrorStreamCaptureInvalidated;
    capture->work.push_back(std::move(work));
    ++capture->streams[stream][stream];
    return cudaSuccess;
  }
  {
    std::lock_guard lock(stream->mutex);
    stream->work.push_back(std::move(work));
  }
  if (queueing == Queueing::kAtOnce) RunAll(stream);
  return device_error;
}

cudaError_t Finish(cudaStream_t stream) {
  if (stream == nullptr) {
    FinishDevice(CurrentDevice());
    return device_error;
  }
  if (!Known(stream)) return cudaErrorInvalidResourceHandle;
  if (const cudaError_t error = RefuseInCapture(stream); error != cudaSuccess) return error;
  RunAll(stream);
  return device_error;
}

void FinishDevice(int device) {
  std::vector<cudaStream_t> streams;
  {
    std::lock_guard lock(Living().mutex);
    for (cudaStream_t stream : Living().all) {
      if (stream->device == device) streams.push_back(stream);
    }
  }
  for (cudaStream_t stream : streams) RunAll(stream);
}

cudaError_t RefuseInCapture(cudaStream_t stream) {
  if (stream == nullptr || stream->capture == nullptr) return cudaSuccess;
  stream->capture->invalidated = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t RefuseUnsafe() {
  for (Capture* capture : unsafe_captures) capture->invalidated = true;
  return unsafe_captures.empty() && global_captures == 0 ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}

}  // namespace photon::simt

using namespace photon::simt;

// Streams

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (DeviceError() != cudaSuccess) return DeviceError();
  *stream = new CUstream_st;
  (*stream)->device = CurrentDevice();
  std::lock_guard lock(Living().mutex);
  Living().all.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (!Known(stream)) return cudaErrorInvalidResourceHandle;
  RunAll(stream);
  // Kept: a thread that waits for the whole device may be looking at it.
  static auto* const destroyed = new std::vector<cudaStream_t>;
  std::lock_guard lock(Living().mutex);
  Living().all.erase(stream);
  destroyed->push_back(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return Finish(stream); }

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (stream != nullptr && !Known(stream)) return cudaErrorInvalidResourceHandle;
  if (const cudaError_t error = RefuseInCapture(stream); error != cudaSuccess) return error;
  if (stream == nullptr) return Finish(stream);
  std::unique_lock lock(stream->mutex, std::try_to_lock);
  if (!lock.owns_lock()) return cudaErrorNotReady;
  RunOne(stream);  // whoever asks again and again gets an end
  return !stream->work.empty() ? cudaErrorNotReady : DeviceError();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::shared_ptr<Mark> mark = event->mark;
  if (mark == nullptr) return cudaSuccess;
  if (mark->captured) {
    const std::shared_ptr<Capture> capture = mark->capture.lock();
    if (capture == nullptr || stream == nullptr) return cudaErrorStreamCaptureIsolation;
    if (stream->capture == nullptr) {
      stream->capture = capture;  // joins
    } else if (stream->capture != capture) {
      return cudaErrorStreamCaptureMerge;
    }
    Merge(capture->streams[stream], mark->before);
    capture->streams[stream][stream];
    return cudaSuccess;
  }
  if (stream != nullptr && stream->capture != nullptr) {
    stream->capture->invalidated = true;
    return cudaErrorStreamCaptureIsolation;
  }
  if (mark->reached) return DeviceError();
  return Queue(stream, [mark] { RunUntil(*mark); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return Queue(stream, [function, data] { function(data); });
}

// Events

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{(flags & cudaEventDisableTiming) == 0, nullptr};
  return DeviceError();
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto mark = std::make_shared<Mark>();
  mark->stream = stream;
  if (stream != nullptr && stream->capture != nullptr) {
    if (stream->capture->invalidated) return cudaErrorStreamCaptureInvalidated;
    mark->captured = true;
    mark->capture = stream->capture;
    mark->before = stream->capture->streams[stream];
    event->mark = mark;
    return cudaSuccess;
  }
  event->mark = mark;
  return Queue(stream, [mark] {
    mark->time = std::chrono::steady_clock::now();
    mark->reached = true;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::shared_ptr<Mark> mark = event->mark;
  if (mark == nullptr) return cudaSuccess;
  if (mark->captured) return cudaErrorCapturedEvent;
  if (DeviceError() == cudaSuccess && !mark->reached) RunUntil(*mark);
  return DeviceError();
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::shared_ptr<Mark> mark = event->mark;
  if (mark == nullptr || DeviceError() != cudaSuccess) return DeviceError();
  if (mark->captured) return cudaErrorCapturedEvent;
  if (mark->reached) return cudaSuccess;
  std::unique_lock lock(mark->stream->mutex, std::try_to_lock);
  if (lock.owns_lock() && !mark->reached) RunOne(mark->stream);
  return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (!begin->timed || !end->timed || begin->mark == nullptr || end->mark == nullptr) {
    return cudaErrorInvalidResourceHandle;
  }
  if (!begin->mark->reached || !end->mark->reached) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(end->mark->time - begin->mark->time).count();
  return cudaSuccess;
}

// Graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  if (stream->capture != nullptr) return cudaErrorIllegalState;
  stream->capture = std::make_shared<Capture>();
  Capture& capture = *stream->capture;
  capture.origin = stream;
  capture.mode = mode;
  capture.thread = std::this_thread::get_id();
  capture.streams[stream][stream] = 0;
  if (mode != cudaStreamCaptureModeRelaxed) unsafe_captures.insert(&capture);
  if (mode == cudaStreamCaptureModeGlobal) ++global_captures;
  return DeviceError();
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture == nullptr) return cudaErrorIllegalState;
  if (capture->origin != stream) {
    capture->invalidated = true;
    return cudaErrorStreamCaptureUnmatched;
  }
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
    return cudaErrorStreamCaptureWrongThread;
  }
  Leave(*capture);
  if (capture->invalidated) return cudaErrorStreamCaptureInvalidated;
  const Before& known = capture->streams[stream];
  for (const auto& [other, before] : capture->streams) {
    const auto joined = known.find(other);
    if (joined == known.end() || joined->second < before.at(other)) return cudaErrorStreamCaptureUnjoined;
  }
  *graph = new CUgraph_st{std::make_shared<const std::vector<Work>>(std::move(capture->work))};
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream == nullptr || stream->capture == nullptr ? cudaStreamCaptureStatusNone
            : stream->capture->invalidated                  ? cudaStreamCaptureStatusInvalidated
                                                            : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return DeviceError();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return Queue(stream, [work = executable->work] {
    for (const Work& piece : *work) piece();
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return DeviceError(); }

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
