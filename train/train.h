// Training a model: `photon train`.
#pragma once

#include <memory>
#include <string>

#include "configs/run.pb.h"
#include "core/device.h"
#include "core/status.h"
#include "parallel/communicator.h"

namespace photon {

struct TrainOptions {
  bool resume = false;  // go on from the newest good checkpoint of run_dir; from the start where there is none
  // Start from the weights of this checkpoint (or run) folder, and from its model where the config has none; of data,
  // schedule and optimizer nothing is taken. With `resume`, only where run_dir has no checkpoints yet.
  std::string init_from;
};

// Trains as `config` says, on all ranks of `world` (JobWorld()'s; it need reach host memory only), each on its device;
// every rank calls it. Writes run_dir/{config.textproto, metrics.jsonl, loss.png, checkpoints/}. SIGTERM, SIGUSR2 and
// SIGINT save and return OK early; SIGUSR1 saves. Errors: kInvalidArgument / kNotFound for bad input; kAlreadyExists
// where run_dir holds checkpoints and resume is off, or another process trains in it; kAborted where training stopped
// itself; all ranks return the same.
absl::Status Train(const RunConfig& config, const TrainOptions& options, OpenedDevice& device,
                   std::unique_ptr<Communicator> world);

// Seconds after which ranks that meet to begin with miss one that doesn't come: parallel.collective_timeout_s, or its
// default where the config, which nobody judged yet, has none that is one.
double StartTimeout(const RunConfig& config);

}  // namespace photon
