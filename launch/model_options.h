// Options that several commands share: which checkpoint, which type of number, which device, how many threads.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/device.h"
#include "core/dtype.h"

namespace photon {

void AddCheckpointOption(CLI::App& command, std::string* checkpoint);  // --checkpoint DIR, an existing one

void AddDtypeOption(CLI::App& command, std::string* dtype);  // --dtype f32|bf16
DType ComputeType(const std::string& dtype);                 // of what that option let through

void AddDeviceOptions(CLI::App& command,
                      std::string* device);           // --device cpu|cuda|cuda:N|auto; --threads, which acts by itself
void AddCheckOption(CLI::App& command, bool* check);  // --check
// What those options name: kUnavailable (exit code 4) where it can't be used. Where "auto" must pass a GPU over for the
// CPU, it says so on stderr. `check`: its operations throw NotFinite (core/checked_backend.h).
absl::StatusOr<std::unique_ptr<OpenedDevice>> OpenDevice(const std::string& device, bool check);

}  // namespace photon
