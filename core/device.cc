#include "core/device.h"

#include <omp.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/available_memory.h"
#include "core/backend.h"
#include "core/check.h"
#include "core/cuda_module.h"
#include "core/status.h"

namespace photon {
namespace {

class CpuDevice : public OpenedDevice {
 public:
  Device device() const override { return {}; }
  std::string Description() const override { return absl::StrCat("CPU, ", omp_get_max_threads(), " threads"); }
  std::string Identity() const override { return "cpu"; }
  DeviceMemory memory() const override {
    const size_t available = std::max<int64_t>(AvailableMemory(), 0);
    return {.total = available + allocator_.main().reserved(), .free = available};
  }
  ZonedAllocator& allocator() override { return allocator_; }
  Context MakeContext(Profiler* profiler) override {
    return Context(device(), CpuBackend(), allocator_, /*stream=*/nullptr, profiler);
  }
  std::unique_ptr<DeviceGraph> Record(const Context&, const std::function<void()>&) override {
    PHOTON_CHECK(false) << "[record] the CPU records no operations";
    return nullptr;
  }

 private:
  mutable ZonedAllocator allocator_{Arena::HostSlabs()};
};

// `index`: -1 for this rank's share of the devices.
absl::StatusOr<std::unique_ptr<OpenedDevice>> OpenCuda(int index, int local_rank) {
  PHOTON_ASSIGN_OR_RETURN(const cuda::Module* module, LoadCudaModule());
  if (index < 0) {
    PHOTON_ASSIGN_OR_RETURN(const int count, module->count_devices());
    index = local_rank % count;
  }
  return module->open(index);
}

// "cuda" is -1, "cuda:2" 2; false for what is neither.
bool ParseCuda(absl::string_view name, int* index) {
  *index = -1;
  if (!absl::ConsumePrefix(&name, "cuda")) return false;
  if (name.empty()) return true;
  return absl::ConsumePrefix(&name, ":") && absl::SimpleAtoi(name, index) && *index >= 0;
}

}  // namespace

absl::Status CheckDeviceName(absl::string_view name) {
  int index = 0;
  if (name == "cpu" || name == "auto" || ParseCuda(name, &index)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" is no device; use cpu, cuda, cuda:N or auto"));
}

absl::StatusOr<std::unique_ptr<OpenedDevice>> OpenedDevice::Open(absl::string_view name, int local_rank,
                                                                 std::string* why_cpu) {
  PHOTON_RETURN_IF_ERROR(CheckDeviceName(name));
  int index = -1;
  if (name == "auto" || ParseCuda(name, &index)) {
    absl::StatusOr<std::unique_ptr<OpenedDevice>> gpu = OpenCuda(index, local_rank);
    if (gpu.ok() || absl::IsInvalidArgument(gpu.status())) return gpu;  // a setting that is mistyped is no missing GPU
    if (name != "auto") {
      return absl::UnavailableError(absl::StrCat("--device ", name, ": ", gpu.status().message()));
    }
    if (why_cpu != nullptr) *why_cpu = std::string(gpu.status().message());
  }
  return std::make_unique<CpuDevice>();
}

}  // namespace photon
