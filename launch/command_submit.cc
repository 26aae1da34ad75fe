// photon submit
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "configs/config.h"
#include "core/file.h"
#include "launch/commands.h"
#include "launch/slurm_script.h"
#include "parallel/hosts.h"
#include "parallel/mesh.h"

namespace photon {
namespace {

struct SubmitArguments {
  std::string config, init_from, device;
  std::vector<std::string> overrides;
  SlurmJob job;
  bool dry_run = false;
};

absl::Status CheckLayout(const RunConfig& config, const SlurmJob& job) {
  const int ranks = job.nodes * job.ranks_per_node;  // no more than fit: see the options' bounds
  PHOTON_RETURN_IF_ERROR(ValidateRun(config, ranks));
  PHOTON_ASSIGN_OR_RETURN(const auto sizes, MeshSizes(config.parallel(), ranks));
  const std::string crossing = TensorParallelAcrossHosts(sizes, PlannedHosts(ranks, job.ranks_per_node));
  return crossing.empty() ? absl::OkStatus() : absl::InvalidArgumentError(crossing);
}

// Not refused: a job's nodes may see other folders than this one does.
void WarnOfAbsentData(const DataConfig& data) {
  std::vector<std::string> prefixes = {data.train(), data.valid()};
  for (const DataSource& source : data.source()) prefixes.push_back(source.prefix());
  for (const absl::string_view name : prefixes) {
    const std::string prefix(absl::StripSuffix(name, ".bin"));
    if (prefix.empty() || FileExists(prefix + ".idx") || FileExists(prefix + ".json")) continue;
    std::cerr << absl::StrCat("warning: there is no ", prefix,
                              ".idx here: the job ends at once where its nodes don't see it "
                              "either\n");
  }
}

// sbatch reads the script from its standard input, and says itself what it refuses.
absl::Status Queue(const std::string& script) {
  FILE* sbatch = popen("sbatch", "w");
  if (sbatch == nullptr) return absl::UnavailableError("cannot start sbatch");
  std::fwrite(script.data(), 1, script.size(), sbatch);
  if (pclose(sbatch) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "sbatch did not take the job, see above. Where there is no sbatch, run this on a login node of the cluster; "
      "--dry-run shows the script");
}

absl::Status RunSubmit(SubmitArguments arguments) {
  SlurmJob& job = arguments.job;
  PHOTON_ASSIGN_OR_RETURN(const RunConfig config, LoadRunConfig(arguments.config, arguments.overrides));
  PHOTON_RETURN_IF_ERROR(CheckLayout(config, job));
  WarnOfAbsentData(config.data());
  std::error_code error;
  job.program = std::filesystem::read_symlink("/proc/self/exe", error);
  job.run_dir = config.run_dir();
  job.arguments = {"--config", std::filesystem::absolute(arguments.config)};
  for (const std::string& assignment : arguments.overrides) {
    job.arguments.insert(job.arguments.end(), {"--set", assignment});
  }
  if (!arguments.init_from.empty()) job.arguments.insert(job.arguments.end(), {"--init-from", arguments.init_from});
  if (!arguments.device.empty()) job.arguments.insert(job.arguments.end(), {"--device", arguments.device});
  PHOTON_ASSIGN_OR_RETURN(const std::string script, SlurmScript(job));
  if (!arguments.dry_run) return Queue(script);
  std::cout << script;
  return absl::OkStatus();
}

}  // namespace

void AddSubmitCommand(CLI::App& app, Run* chosen) {
  const auto a = std::make_shared<SubmitArguments>();
  CLI::App& command = *AddCommand(app, "submit", "Queue a training under SLURM that saves, stops and resumes by itself",
                                  chosen, [a] { return RunSubmit(*a); });
  SlurmJob& job = a->job;
  command.add_option("--config", a->config, "The run, as for photon train")->required();
  command.add_option("--set", a->overrides, "FIELD=VALUE: overrides one field (repeatable)")->allow_extra_args(false);
  command.add_option("--init-from", a->init_from, "As for photon train");
  command.add_option("--device", a->device, "As for photon train");
  command.add_option("--nodes", job.nodes)->check(Between(1, 1 << 14))->capture_default_str();
  command.add_option("--ranks-per-node", job.ranks_per_node, "On GPUs, one for each")
      ->check(Between(1, 256))
      ->capture_default_str();
  command.add_option("--time", job.time, "The job's limit, as sbatch takes it: it goes on in another start")
      ->capture_default_str();
  command
      .add_option("--save-before", job.save_before_s,
                  "Seconds before the limit at which the run saves and stops; a step and a save have to fit")
      ->check(Between(1, 65535))
      ->capture_default_str();
  command.add_option("--name", job.name)->capture_default_str();
  command.add_option("--cpus-per-rank", job.cpus_per_rank)->check(AtLeast(1));
  command.add_option("--gpus-per-node", job.gpus_per_node)->check(AtLeast(1));
  command.add_option("--partition", job.partition);
  command.add_option("--account", job.account);
  command.add_option("--sbatch", job.options, "Another option of sbatch, as in --sbatch=--qos=high (repeatable)")
      ->allow_extra_args(false);
  command.add_flag("--dry-run", a->dry_run, "Print the script, and queue nothing");
}

}  // namespace photon
