// Options that several commands share: which checkpoint, which type of number, which device.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/status.h"
#include "core/dtype.h"

namespace photon {

void AddCheckpointOption(CLI::App& command, std::string* checkpoint);  // --checkpoint DIR, an existing one

void AddDtypeOption(CLI::App& command, std::string* dtype);  // --dtype f32|bf16
DType ComputeType(const std::string& dtype);                 // of what that option let through

void AddDeviceOption(CLI::App& command, std::string* device);  // --device cpu|cuda|auto
// kUnavailable (exit code 4) where the device asked for can't be used. "auto" always can.
absl::Status CheckDevice(const std::string& device);

}  // namespace photon
