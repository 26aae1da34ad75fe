// --device, as every benchmark takes it.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "core/device.h"

namespace photon {

inline void AddDeviceOption(CLI::App& app, std::string* name) {
  app.add_option("--device", *name, "cpu, cuda, cuda:N or auto")->capture_default_str();
}

// Where it can't be used, the reason, and the end with the program's own exit code for that.
inline std::unique_ptr<OpenedDevice> OpenDeviceOrExit(const std::string& name) {
  absl::StatusOr<std::unique_ptr<OpenedDevice>> device = OpenedDevice::Open(name);
  if (device.ok()) return *std::move(device);
  std::fprintf(stderr, "%s\n", std::string(device.status().message()).c_str());
  std::exit(4);
}

}  // namespace photon
