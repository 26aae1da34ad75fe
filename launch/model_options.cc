#include "launch/model_options.h"

#include "core/check.h"

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

void AddDeviceOption(CLI::App& command, std::string* device) {
  command.add_option("--device", *device, "What computes; auto: the best that is there")
      ->default_val("auto")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
}

absl::Status CheckDevice(const std::string& device) {
  if (device == "cuda") return absl::UnavailableError("--device cuda: this build has no CUDA backend; use cpu or auto");
  return absl::OkStatus();
}

}  // namespace photon
