#include "plan/prediction.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "configs/config.h"
#include "configs/validate_layout.h"
#include "core/human.h"
#include "model/flops.h"
#include "plan/link_time.h"

namespace photon {
namespace {

constexpr double kReserved = 3.0 * (int64_t{1} << 30);  // CUDA's context and libraries, NCCL's buffers, cuBLAS's space

}  // namespace

Machine Machine::Of(const dry::DeviceFigures& figures) {
  return {
      .figures = figures, .time = std::make_shared<dry::FiguredTime>(figures), .reserved = kReserved, .overlaps = true};
}

const RankUse& Prediction::largest() const {
  return *std::max_element(run.ranks.begin(), run.ranks.end(),
                           [](const RankUse& a, const RankUse& b) { return a.memory.peak() < b.memory.peak(); });
}

const RankUse& Prediction::slowest() const {
  return *std::max_element(run.ranks.begin(), run.ranks.end(),
                           [](const RankUse& a, const RankUse& b) { return a.step < b.step; });
}

absl::StatusOr<Prediction> Predict(const RunConfig& config, int devices, const Machine& machine,
                                   const Thoroughness& thoroughness) {
  PHOTON_RETURN_IF_ERROR(ValidateRun(config, devices));
  Prediction p;
  p.config = Resolved(config, devices);
  if (machine.overlaps) PHOTON_RETURN_IF_ERROR(CheckOverlapOnGpus(p.config.parallel(), devices));
  PHOTON_ASSIGN_OR_RETURN(p.sizes, SizesOfLayout(p.config.parallel(), devices));
  PHOTON_ASSIGN_OR_RETURN(p.run, RunDry(p.config, devices,
                                        {.time = machine.time.get(),
                                         .links = LinkTime(machine.figures),
                                         .memory = static_cast<size_t>(machine.figures.memory),
                                         .threads = machine.threads,
                                         .one_replica = !thoroughness.all_ranks,
                                         .extrapolate = !thoroughness.all_microbatches}));
  const auto sequences = static_cast<double>(p.config.training().batch_sequences());
  const int64_t length = p.config.data().sequence_length();
  p.model_flops = TrainingFlops(p.config.model(), length) * sequences;
  p.mfu = p.model_flops / (devices * machine.peak(p.config) * p.run.step_s);
  p.tokens_per_s = sequences * static_cast<double>(length) / p.run.step_s;
  double waiting = 0;
  for (const RankUse& rank : p.run.ranks) {
    for (const auto& [axes, use] : rank.axes) waiting += axes.contains(MeshAxis::kPp) ? use.waiting : 0;
  }
  p.bubble = waiting / (static_cast<double>(p.run.ranks.size()) * p.run.step_s);
  return p;
}

absl::Status CheckMemory(const Prediction& prediction, const Machine& machine) {
  if (prediction.fits(machine)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("rank ", prediction.largest().rank, " needs ", HumanBytes(prediction.largest().memory.peak()),
                   " and has ", HumanBytes(static_cast<int64_t>(machine.for_tensors())),
                   " for tensors; `photon plan` without --layout, --dry-run and --scale-to lists layouts that fit"));
}

}  // namespace photon
