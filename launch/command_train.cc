// photon train
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "configs/config.h"
#include "launch/commands.h"
#include "launch/environment.h"
#include "launch/model_options.h"
#include "parallel/job_world.h"
#include "parallel/watchdog.h"
#include "plan/memory_check.h"
#include "train/train.h"

namespace photon {
namespace {

struct TrainArguments {
  std::string config;
  std::vector<std::string> overrides;
  std::string device;
  TrainOptions options;
  bool profile = false, check = false;
};

// Before anything is allocated. What is wrong with the config itself is for Train() to say.
absl::Status CheckMemory(const RunConfig& config, const Communicator& world, const OpenedDevice& device) {
  if (!ValidateRun(config, world.size()).ok()) return absl::OkStatus();
  auto free = static_cast<double>(device.memory().free);
  if (free == 0) return absl::OkStatus();  // nothing says
  if (device.device().type == DeviceType::kCpu) free /= LocalRanks(ProcessEnvironment());
  return FitsMemory(config, world.rank(), world.size(), free);
}

absl::Status RunTrain(const TrainArguments& arguments) {
  // Ranks read the file for themselves; one that can't must not leave the others waiting.
  absl::StatusOr<std::unique_ptr<Communicator>> job = JobWorld();
  // What is wrong with this rank's place may be right on rank 0, which speaks for all elsewhere, but for failures.
  if (absl::IsInvalidArgument(job.status()) && LauncherRank(ProcessEnvironment()) != 0) {
    std::cerr << absl::StrCat("photon train: ", job.status().message(), "\n");
  }
  PHOTON_RETURN_IF_ERROR(job.status());
  std::unique_ptr<Communicator> world = *std::move(job);
  absl::StatusOr<RunConfig> config = LoadRunConfig(arguments.config, arguments.overrides);
  // A rank that doesn't come is missed from here on.
  std::optional<Watchdog> starting(std::in_place, std::vector<Communicator*>{world.get()},
                                   StartTimeout(config.ok() ? *config : RunConfig()));
  PHOTON_RETURN_IF_ERROR(AgreeOn(*world, "the config", config.status()));
  if (arguments.profile && config->training().profile_steps() == 0) config->mutable_training()->set_profile_steps(10);
  if (arguments.check) config->mutable_training()->set_check(true);
  absl::StatusOr<std::unique_ptr<OpenedDevice>> device = OpenDevice(arguments.device, config->training().check());
  PHOTON_RETURN_IF_ERROR(AgreeOn(*world, "the device", device.status()));
  PHOTON_RETURN_IF_ERROR(AgreeOn(*world, "memory", CheckMemory(*config, *world, **device)));
  starting.reset();  // Train() has its own
  return Train(*config, arguments.options, **device, std::move(world));
}

}  // namespace

void AddTrainCommand(CLI::App& app, Run* chosen) {
  const auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command = AddCommand(app, "train", "Train a model, alone or under mpirun", chosen,
                                 [arguments] { return RunTrain(*arguments); });
  command->add_option("--config", arguments->config, "The run: a text file as in configs/")->required();
  command
      ->add_option("--set", arguments->overrides,
                   "FIELD=VALUE: overrides one field, as in --set model.levels.0.chunk=2 (repeatable)")
      ->allow_extra_args(false);
  command->add_flag("--resume", arguments->options.resume, "Go on from the newest good checkpoint of the run's folder");
  command->add_option("--init-from", arguments->options.init_from,
                      "Start from the weights of this checkpoint or run folder (with --resume: where the run has no "
                      "checkpoints yet)");
  command->add_flag("--profile", arguments->profile,
                    "Print and write where the time of steps 3 to 12 goes (training.profile_steps: of how many)");
  AddDeviceOptions(*command, &arguments->device);
  AddCheckOption(*command, &arguments->check);
}

}  // namespace photon
