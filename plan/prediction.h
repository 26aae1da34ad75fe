// What one layout of a run would need and take on a machine that is described by figures.
#pragma once

#include <memory>
#include <string>

#include "configs/layout.h"
#include "configs/run.pb.h"
#include "core/dry/operation_time.h"
#include "core/status.h"
#include "plan/dry_run.h"

namespace photon {

// A kind of machine, and what is assumed of it.
struct Machine {
  dry::DeviceFigures figures;
  std::shared_ptr<dry::OperationTime> time;
  // Bytes of a device that are not for tensors: context, libraries, and buffers of the communication library.
  double reserved = 0;
  int threads = 2;        // of this process, to build ranks side by side
  bool overlaps = false;  // a GPU: reductions beside the computation cost it nothing, where they can be had

  double for_tensors() const { return figures.memory - reserved; }
  double peak(const RunConfig& config) const {
    return config.training().dtype() == "bf16" ? figures.peak_bf16 : figures.peak_f32;
  }
  static Machine Of(const dry::DeviceFigures& figures);
};

struct Prediction {
  RunConfig config;  // resolved
  LayoutSizes sizes;
  DryRun run;
  double model_flops = 0;  // of a step, as MFU counts them (model/flops.h)
  double mfu = 0;
  double tokens_per_s = 0;
  double bubble = 0;  // share of the step in which ranks wait for other stages, mean

  const RankUse& largest() const;  // by memory
  const RankUse& slowest() const;
  bool fits(const Machine& machine) const {
    return static_cast<double>(largest().memory.peak()) <= machine.for_tensors();
  }
};

struct Thoroughness {
  bool all_ranks = false;         // else those of one data-parallel replica
  bool all_microbatches = false;  // else what many of them add is extrapolated (DryRunOptions)
};

// `config` as written, valid for `devices`.
absl::StatusOr<Prediction> Predict(const RunConfig& config, int devices, const Machine& machine,
                                   const Thoroughness& thoroughness = {});

// kInvalidArgument, with the figures, where it does not fit.
absl::Status CheckMemory(const Prediction& prediction, const Machine& machine);

}  // namespace photon
