#include "launch/device.h"

namespace photon {

void AddDeviceOption(CLI::App& command, std::string* device) {
  command.add_option("--device", *device, "What computes: cpu, cuda, or auto (the best that is there)")
      ->default_val("auto")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
}

absl::Status CheckDevice(const std::string& device) {
  if (device == "cuda") return absl::UnavailableError("--device cuda: this build has no CUDA backend; use cpu or auto");
  return absl::OkStatus();
}

}  // namespace photon
