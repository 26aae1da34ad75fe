// All processes of a job, however it was started.
#pragma once

#include <functional>
#include <memory>

#include "parallel/communicator.h"

namespace photon {

// Where PHOTON_RENDEZVOUS names a folder that all processes reach, they meet there and talk over TCP: for launchers
// that MPI doesn't know. A process's place is told by
//   PHOTON_RANK and PHOTON_RANKS, else SLURM_PROCID and SLURM_NTASKS;
//   PHOTON_JOB, a name no earlier job used in that folder, else SLURM's job, step and restart count.
// PHOTON_INTERFACE names the network ("eth0"), PHOTON_RENDEZVOUS_TIMEOUT the seconds to wait (600). Otherwise MPI's
// world: one process under no launcher. kInvalidArgument for variables that are missing or make no sense.
absl::StatusOr<std::unique_ptr<Communicator>> JobWorld();

// What JobWorld() reads; false where it takes MPI. `environment` is std::getenv, or a table in tests.
absl::StatusOr<bool> ReadRendezvous(const std::function<const char*(const char*)>& environment,
                                    FileWorldOptions* options);

// kFailedPrecondition where srun started several tasks and MPI knows of this one alone.
absl::Status CheckConnected(const std::function<const char*(const char*)>& environment, int ranks);

}  // namespace photon
