#include "core/dry/device_figures.h"

#include "absl/strings/str_cat.h"
#include "configs/nearest.h"

namespace photon::dry {
namespace {

const std::vector<DeviceFigures>& Table() {
  static const std::vector<DeviceFigures> table = {
      {.name = "h200",
       .memory = 141e9,
       .memory_bandwidth = 4.8e12,
       .peak_bf16 = 989.5e12,
       .peak_f32 = 67e12,
       .link_bandwidth = 450e9,
       .network_bandwidth = 50e9,
       .source = "NVIDIA H200 SXM data sheet; NVLink 4, 900 GB/s both ways; one 400 Gbit/s NDR port a GPU"},
      {.name = "h100",
       .memory = 80e9,
       .memory_bandwidth = 3.35e12,
       .peak_bf16 = 989.5e12,
       .peak_f32 = 67e12,
       .link_bandwidth = 450e9,
       .network_bandwidth = 50e9,
       .source = "NVIDIA H100 SXM data sheet; NVLink 4, 900 GB/s both ways; one 400 Gbit/s NDR port a GPU"},
      {.name = "a100",
       .memory = 80e9,
       .memory_bandwidth = 2.039e12,
       .peak_bf16 = 312e12,
       .peak_f32 = 19.5e12,
       .link_bandwidth = 300e9,
       .network_bandwidth = 25e9,
       .source = "NVIDIA A100 80GB SXM data sheet; NVLink 3, 600 GB/s both ways; one 200 Gbit/s HDR port a GPU"},
  };
  return table;
}

}  // namespace

std::vector<std::string> KnownDevices() {
  std::vector<std::string> names;
  for (const DeviceFigures& figures : Table()) names.push_back(figures.name);
  return names;
}

absl::StatusOr<DeviceFigures> FiguresOf(absl::string_view name) {
  for (const DeviceFigures& figures : Table()) {
    if (figures.name == name) return figures;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no figures of a device \"", name, "\"", DidYouMean(name, KnownDevices())));
}

}  // namespace photon::dry
