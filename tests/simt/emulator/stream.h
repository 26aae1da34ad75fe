// Streams, events and captures behind the runtime's functions (runtime.h).
//
// Queued work runs in the thread of the host that waits for it, at the time that Queueing (order.h) says.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/simt/emulator/order.h"
#include "tests/simt/emulator/runtime_types.h"

namespace photon::simt {

using Work = std::function<void()>;
// For each captured stream: how many pieces of work of it are known to come before.
using Before = std::map<cudaStream_t, size_t>;

// From cudaStreamBeginCapture to cudaStreamEndCapture. Work is kept in the order of the calls, which every edge between
// streams agrees with.
struct Capture {
  cudaStream_t origin;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool invalidated = false;
  std::vector<Work> work;
  std::map<cudaStream_t, Before> streams;  // those that take part; streams[s][s]: pieces of work of s
};

// One cudaEventRecord.
struct Mark {
  cudaStream_t stream;
  std::atomic<bool> reached = false;
  std::chrono::steady_clock::time_point time;
  std::weak_ptr<Capture> capture;
  bool captured = false;
  Before before;  // where captured
};

// Queues work, or captures it. The stream's turn comes after what it holds already.
cudaError_t Queue(cudaStream_t stream, Work work);
// Runs what the stream holds; in a capture, the error that CUDA gives, and the capture is lost.
cudaError_t Finish(cudaStream_t stream);
void FinishDevice(int device);
// Work that waits for the host may not be captured: marks the capture that `stream` is in, if it is.
cudaError_t RefuseInCapture(cudaStream_t stream);
// Calls that are unsafe while this thread, or by another thread in global mode, captures other than in relaxed mode.
cudaError_t RefuseUnsafe();

// The error that the device is in, for tests: every later call returns it. cudaSuccess heals it.
void SetDeviceError(cudaError_t error);
cudaError_t DeviceError();

int CurrentDevice();

}  // namespace photon::simt

struct CUstream_st {
  int device = 0;
  std::recursive_mutex mutex;
  std::deque<photon::simt::Work> work;
  std::shared_ptr<photon::simt::Capture> capture;
};
struct CUevent_st {
  bool timed = true;
  std::shared_ptr<photon::simt::Mark> mark;  // null: never recorded
};
struct CUgraph_st {
  std::shared_ptr<const std::vector<photon::simt::Work>> work;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<photon::simt::Work>> work;
};
