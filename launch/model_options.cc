#include "launch/model_options.h"

#include <omp.h>

#include <filesystem>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/checked_device.h"
#include "launch/commands.h"
#include "launch/environment.h"

namespace photon {

void AddCheckpointOption(CLI::App& command, std::string* checkpoint) {
  command.add_option("--checkpoint", *checkpoint, "A run folder (its newest checkpoint) or a checkpoint folder")
      ->required();
}

void AddDtypeOption(CLI::App& command, std::string* dtype) {
  command.add_option("--dtype", *dtype, "Type of matrix products; f32 uses the master weights")
      ->default_val("f32")
      ->check(CLI::IsMember({"f32", "bf16"}));
}

DType ComputeType(const std::string& dtype) {
  DType type = DType::kF32;
  PHOTON_CHECK(ParseDType(dtype, &type)) << dtype;
  return type;
}

void AddDeviceOptions(CLI::App& command, std::string* device) {
  const auto check = [](const std::string& name) { return std::string(CheckDeviceName(name).message()); };
  command
      .add_option("--device", *device,
                  "What computes: cpu, cuda, cuda:N, or auto: a GPU where one can be used. Ranks of a node share its "
                  "GPUs out")
      ->default_val("auto")
      ->check(CLI::Validator(check, ""));
  command
      .add_option_function<int>("--threads", omp_set_num_threads,
                                "CPU threads of a rank; without it OMP_NUM_THREADS, else its share of the cores")
      ->check(Between(1, 1024));
}

void AddCheckOption(CLI::App& command, bool* check) {
  command.add_flag("--check", *check,
                   "Look at the results of every operation, and stop at the first NaN or infinity, naming it; slow");
}

absl::StatusOr<std::unique_ptr<OpenedDevice>> OpenDevice(const std::string& device, bool check) {
  const Environment environment = ProcessEnvironment();
  std::string why_cpu;
  auto opened = OpenedDevice::Open(device, LocalRank(environment), &why_cpu);
  // Machines without a GPU are no news.
  if (!why_cpu.empty() && std::filesystem::exists("/proc/driver/nvidia") && LauncherRank(environment) == 0) {
    std::cerr << absl::StrCat("--device auto takes the CPU: ", why_cpu, "\n");
  }
  if (opened.ok() && check) return CheckedDevice(*std::move(opened));
  return opened;
}

}  // namespace photon
