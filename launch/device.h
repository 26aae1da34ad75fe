// --device: what computes.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/status.h"

namespace photon {

// Adds `--device cpu|cuda|auto`.
void AddDeviceOption(CLI::App& command, std::string* device);

// kUnavailable (exit code 4) where the device asked for can't be used. "auto" always can.
absl::Status CheckDevice(const std::string& device);

}  // namespace photon
