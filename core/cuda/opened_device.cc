#include "core/cuda/opened_device.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/check.h"
#include "core/cuda/backend.h"
#include "core/cuda/error.h"
#include "core/cuda/matrix_products.h"
#include "core/cuda/nvtx_marker.h"
#include "core/cuda/queue.h"
#include "core/cuda/staging_ring.h"
#include "core/human.h"
#include "core/status.h"

namespace photon::cuda {
namespace {

constexpr int kOldestMajor = 8;  // bf16 on tensor cores, cp.async
constexpr const char* kNeededDriver = "CUDA 13.0 needs NVIDIA's driver 580 or newer";

std::string CudaVersion(int version) { return absl::StrCat(version / 1000, ".", version % 1000 / 10); }

std::string VisibleDevices() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible == nullptr ? "" : absl::StrCat(" (CUDA_VISIBLE_DEVICES is \"", visible, "\")");
}

absl::Status Unusable(cudaError_t error, absl::string_view what) {
  cudaGetLastError();  // clears it: the error is reported here
  std::string remedy;
  if (error == cudaErrorDevicesUnavailable) {
    remedy = "; another process has it to itself (nvidia-smi -q -d COMPUTE shows the mode), or it is being reset";
  } else if (error == cudaErrorMemoryAllocation) {
    remedy = "; other processes have taken its memory: nvidia-smi names them";
  } else if (error == cudaErrorSystemNotReady || error == cudaErrorSystemDriverMismatch) {
    remedy =
        "; the driver and its services (nvidia-fabricmanager on machines with NVSwitch) must be started and of one "
        "version";
  }
  return absl::UnavailableError(
      absl::StrCat(what, ": ", cudaGetErrorName(error), " (", cudaGetErrorString(error), ")", remedy));
}

// For kernels' code, graphs and NCCL's buffers.
size_t LeftToTheDriver(size_t total) { return std::min(size_t{512} << 20, total / 64); }

// The shortest streams whose attention goes to Hopper's warpgroups: none where the GPU has none (all but compute
// capability 9.0), or the build no code for them (90a). The default is reckoned, not measured: below it, one block of
// theirs has too few tiles to keep two warpgroups busy. PHOTON_WARPGROUPS_FROM is there to measure it, and to do
// without these kernels.
absl::StatusOr<int64_t> WarpgroupsFrom(const cudaDeviceProp& properties) {
  constexpr bool kBuilt = PHOTON_WARPGROUPS;
  int64_t rows = 512;
  const char* const given = std::getenv("PHOTON_WARPGROUPS_FROM");
  if (given != nullptr && (!absl::SimpleAtoi(given, &rows) || rows < 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("PHOTON_WARPGROUPS_FROM is \"", given,
                     "\": give the least length of streams for Hopper's attention kernels, such as 512"));
  }
  return kBuilt && properties.major == 9 && properties.minor == 0 ? rows : std::numeric_limits<int64_t>::max();
}

class CudaGraph : public DeviceGraph {
 public:
  CudaGraph(cudaGraphExec_t graph, int device, const Queue& queue) : graph_(graph), device_(device), queue_(queue) {}
  ~CudaGraph() override { cudaGraphExecDestroy(graph_); }
  void Launch() override { Check(cudaGraphLaunch(graph_, queue_.stream), device_, "launching recorded operations"); }

 private:
  cudaGraphExec_t graph_;
  const int device_;
  const Queue& queue_;
};

class OpenedCudaDevice : public OpenedDevice {
 public:
  OpenedCudaDevice(int index, const cudaDeviceProp& properties, int64_t warpgroups_from, cudaStream_t stream,
                   std::string description)
      : index_(index),
        description_(std::move(description)),
        identity_(properties.uuid.bytes, sizeof(properties.uuid.bytes)),
        staging_(index),
        allocator_(Slabs(index)),
        products_(index, description_, allocator_) {
    queue_.stream = stream;
    queue_.multiprocessors = properties.multiProcessorCount;
    queue_.shared_per_block = properties.sharedMemPerBlockOptin;
    queue_.warpgroups_from = warpgroups_from;
    queue_.staging = &staging_;
    queue_.products = &products_;
  }
  ~OpenedCudaDevice() override {
    cudaStreamSynchronize(queue_.stream);
    cudaStreamDestroy(queue_.stream);
  }

  Device device() const override { return {DeviceType::kCuda, index_}; }
  std::string Description() const override { return description_; }
  std::string Identity() const override { return identity_; }
  DeviceMemory memory() const override {
    DeviceMemory memory;
    Check(cudaMemGetInfo(&memory.free, &memory.total), index_, "asking for its memory");
    return memory;
  }
  ZonedAllocator& allocator() override { return allocator_; }
  Context MakeContext(Profiler* profiler) override {
    return Context(device(), CudaBackend(), allocator_, &queue_, profiler);
  }
  RangeMarker* marker() override { return marker_.get(); }
  void TimeProducts(bool on) override { queue_.times_products = on; }
  bool records() const override { return true; }
  std::unique_ptr<DeviceGraph> Record(const Context& context, const std::function<void()>& body) override;

 private:
  static Arena::SlabSource Slabs(int index);
  cudaGraph_t Capture(const std::function<void()>& body);

  const int index_;
  const std::string description_, identity_;
  StagingRing staging_;
  ZonedAllocator allocator_;
  MatrixProducts products_;
  const std::unique_ptr<RangeMarker> marker_ = NvtxMarker();
  Queue queue_;
};

Arena::SlabSource OpenedCudaDevice::Slabs(int index) {
  return {.take = [index](size_t bytes) -> void* {
            void* data = nullptr;
            size_t free = 0, total = 0;
            Check(cudaMemGetInfo(&free, &total), index, "asking for its memory");
            if (free < bytes + LeftToTheDriver(total)) return nullptr;
            const cudaError_t error = cudaMalloc(&data, bytes);
            if (error == cudaErrorMemoryAllocation) {
              cudaGetLastError();  // clears it
              return nullptr;
            }
            Check(error, index, "allocating memory");
            return data;
          },
          .give_back = [](void* data, size_t) { cudaFree(data); },
          .state =
              [index] {
                size_t free = 0, total = 0;
                cudaMemGetInfo(&free, &total);
                return absl::StrCat("cuda:", index, " has ", HumanBytes(static_cast<int64_t>(free)), " of ",
                                    HumanBytes(static_cast<int64_t>(total)), " free, of which ",
                                    HumanBytes(static_cast<int64_t>(LeftToTheDriver(total))),
                                    " are left to the driver");
              }};
}

cudaGraph_t OpenedCudaDevice::Capture(const std::function<void()>& body) {
  // Relaxed: what other threads do on this device (collectives, say) is no business of this capture.
  Check(cudaStreamBeginCapture(queue_.stream, cudaStreamCaptureModeRelaxed), index_, "beginning to record");
  queue_.recording = true;
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {
    queue_.recording = false;
    if (cudaStreamEndCapture(queue_.stream, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    throw;
  }
  queue_.recording = false;
  Check(cudaStreamEndCapture(queue_.stream, &graph), index_, "recording operations");
  return graph;
}

std::unique_ptr<DeviceGraph> OpenedCudaDevice::Record(const Context& context, const std::function<void()>& body) {
  PHOTON_CHECK(context.device() == device() && !queue_.recording) << "[record] on another device, or inside itself";
  const cudaGraph_t graph = Capture(body);
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  Check(error, index_, "instantiating recorded operations");
  return std::make_unique<CudaGraph>(executable, index_, queue_);
}

absl::Status CheckDevice(int index, const cudaDeviceProp& properties) {
  if (properties.major >= kOldestMajor) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cuda:", index, " is ", properties.name, ", of compute capability ",
                                             properties.major, ".", properties.minor, "; at least ", kOldestMajor,
                                             ".0 is needed (A100 and newer): use --device cpu"));
}

}  // namespace

absl::StatusOr<int> CountDevices() {
  int driver = 0, count = 0;
  cudaDriverGetVersion(&driver);
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver || driver < CUDART_VERSION / 1000 * 1000) {
    cudaGetLastError();
    return absl::UnavailableError(
        absl::StrCat("the NVIDIA driver ",
                     driver == 0 ? "can't be used" : absl::StrCat("is too old, made for CUDA ", CudaVersion(driver)),
                     "; ", kNeededDriver));
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    cudaGetLastError();
    return absl::UnavailableError(
        absl::StrCat("the driver shows this process no GPU", VisibleDevices(),
                     "; nvidia-smi -L lists them. Of a GPU in MIG mode, an instance must exist and be visible"));
  }
  if (error != cudaSuccess) return Unusable(error, "no GPU can be used");
  return count;
}

absl::StatusOr<std::unique_ptr<OpenedDevice>> OpenCudaDevice(int index) {
  PHOTON_ASSIGN_OR_RETURN(const int count, CountDevices());
  if (index < 0 || index >= count) {
    return absl::UnavailableError(
        absl::StrCat("there is no cuda:", index, "; this process sees ", count, " GPU",
                     count == 1 ? ", cuda:0" : absl::StrCat("s, the last is cuda:", count - 1), VisibleDevices()));
  }
  const std::string name = absl::StrCat("cuda:", index, " can't be used");
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, index); error != cudaSuccess) {
    return Unusable(error, name);
  }
  PHOTON_RETURN_IF_ERROR(CheckDevice(index, properties));
  PHOTON_ASSIGN_OR_RETURN(const int64_t warpgroups_from, WarpgroupsFrom(properties));
  cudaStream_t stream = nullptr;
  cudaError_t error = cudaSetDevice(index);
  if (error == cudaSuccess) error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) return Unusable(error, name);
  int driver = 0;
  cudaDriverGetVersion(&driver);
  std::string description =
      absl::StrFormat("%s, %.1f GiB, compute capability %d.%d, driver for CUDA %s", properties.name,
                      static_cast<double>(properties.totalGlobalMem) / (1ull << 30), properties.major, properties.minor,
                      CudaVersion(driver));
  return std::make_unique<OpenedCudaDevice>(index, properties, warpgroups_from, stream, std::move(description));
}

}  // namespace photon::cuda
