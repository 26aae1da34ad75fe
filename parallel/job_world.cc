#include "parallel/job_world.h"

#include <cstdlib>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace photon {
namespace {

using Environment = std::function<const char*(const char*)>;

std::string Text(const Environment& environment, const char* name) {
  const char* text = environment(name);
  return text == nullptr ? "" : text;
}

// The first of the variables that is set.
absl::StatusOr<int> Place(const Environment& environment, const char* ours, const char* slurm, int least) {
  for (const char* name : {ours, slurm}) {
    const std::string text = Text(environment, name);
    if (text.empty()) continue;
    int value = 0;
    if (absl::SimpleAtoi(text, &value) && value >= least) return value;
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is \"", text, "\": an integer of ", least, " or more is wanted"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("PHOTON_RENDEZVOUS is set, but neither ", ours, " nor ", slurm,
                   " is: each process needs both its rank (PHOTON_RANK) and their number (PHOTON_RANKS)"));
}

}  // namespace

absl::StatusOr<bool> ReadRendezvous(const Environment& environment, FileWorldOptions* options) {
  options->folder = Text(environment, "PHOTON_RENDEZVOUS");
  if (options->folder.empty()) return false;
  PHOTON_ASSIGN_OR_RETURN(options->rank, Place(environment, "PHOTON_RANK", "SLURM_PROCID", 0));
  PHOTON_ASSIGN_OR_RETURN(options->size, Place(environment, "PHOTON_RANKS", "SLURM_NTASKS", 1));
  if (options->rank >= options->size) {
    return absl::InvalidArgumentError(
        absl::StrCat("PHOTON_RANK is ", options->rank, ", but there are ", options->size, " ranks: they count from 0"));
  }
  options->job = Text(environment, "PHOTON_JOB");
  if (options->job.empty() && !Text(environment, "SLURM_JOB_ID").empty()) {
    options->job = absl::StrCat(Text(environment, "SLURM_JOB_ID"), ".", Text(environment, "SLURM_STEP_ID"), ".",
                                Text(environment, "SLURM_RESTART_COUNT"));
  }
  if (options->job.empty()) {
    return absl::InvalidArgumentError(
        "PHOTON_RENDEZVOUS is set, but PHOTON_JOB is not: a name that all processes of this job share, and no earlier "
        "job used in that folder");
  }
  options->network_interface = Text(environment, "PHOTON_INTERFACE");
  const std::string timeout = Text(environment, "PHOTON_RENDEZVOUS_TIMEOUT");
  if (!timeout.empty() && (!absl::SimpleAtod(timeout, &options->timeout_s) || !(options->timeout_s > 0))) {
    return absl::InvalidArgumentError(
        absl::StrCat("PHOTON_RENDEZVOUS_TIMEOUT is \"", timeout, "\": seconds are wanted, more than 0"));
  }
  return true;
}

absl::StatusOr<std::unique_ptr<Communicator>> JobWorld() {
  FileWorldOptions options;
  PHOTON_ASSIGN_OR_RETURN(const bool in_folder,
                          ReadRendezvous([](const char* name) { return std::getenv(name); }, &options));
  if (in_folder) return FileWorld(options);
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> world, MpiWorld());
  PHOTON_RETURN_IF_ERROR(CheckConnected([](const char* name) { return std::getenv(name); }, world->size()));
  return world;
}

absl::Status CheckConnected(const Environment& environment, int ranks) {
  int tasks = 1;
  const bool by_srun = absl::SimpleAtoi(Text(environment, "SLURM_STEP_NUM_TASKS"), &tasks) &&
                       Text(environment, "OMPI_COMM_WORLD_SIZE").empty() && Text(environment, "PMI_SIZE").empty();
  if (!by_srun || tasks == 1 || ranks > 1) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("srun started ", tasks,
                   " tasks, but MPI connects none of them, and each would run alone: choose a way "
                   "that this MPI knows of those that srun --mpi=list names (mostly SLURM_MPI_TYPE=pmix, or srun "
                   "--mpi=pmix), or let the ranks meet in a folder: PHOTON_RENDEZVOUS"));
}

}  // namespace photon
