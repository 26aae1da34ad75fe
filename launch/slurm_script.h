// The batch script of a training under SLURM: launch/slurm/train.sbatch with a run's own values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace photon {

struct SlurmJob {
  std::string name = "photon";
  int nodes = 1, ranks_per_node = 1;
  std::string time = "24:00:00";             // as sbatch takes it
  int save_before_s = 300;                   // the warning before the limit
  int cpus_per_rank = 0, gpus_per_node = 0;  // 0: SLURM's own default
  std::string partition, account;
  std::vector<std::string> options;  // of sbatch, as they are: "--qos=high"
  std::string program;               // photon's path
  std::string run_dir;
  std::vector<std::string> arguments;  // of photon train
};

// Seconds of SLURM's "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours[:minutes[:seconds]]".
// kInvalidArgument for anything else.
absl::StatusOr<int64_t> ParseSlurmTime(absl::string_view text);

// kInvalidArgument, naming the option of photon submit and the remedy.
absl::StatusOr<std::string> SlurmScript(const SlurmJob& job);

}  // namespace photon
