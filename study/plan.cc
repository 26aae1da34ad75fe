#include "study/plan.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "configs/model_config.h"
#include "core/status.h"
#include "model/flops.h"
#include "model/language_model.h"

namespace photon::study {
namespace {

// Documents begin at multiples of PHOTON's meta-context for all kinds, so that all are scored on the same tokens.
int64_t CommonAlign(const Size& size) { return ChunkProduct(ModelOf(Kind::kPhoton, size, /*vocab_size=*/1)); }

RunConfig ConfigOf(const Options& options, const PlannedRun& run, int64_t steps) {
  RunConfig config;
  config.set_run_dir(absl::StrCat(options.out, "/", run.name));
  *config.mutable_model() = ModelOf(run.kind, run.size, options.vocab_size);
  DataConfig& data = *config.mutable_data();
  data.set_train(options.train);
  data.set_valid(options.valid);
  data.set_sequence_length(options.scale.sequence_length);
  data.set_align(static_cast<int32_t>(CommonAlign(run.size)));
  data.set_seed(run.seed);
  TrainingConfig& training = *config.mutable_training();
  training.set_steps(steps);
  training.set_batch_sequences(options.scale.batch_sequences);
  training.set_dtype(options.dtype);
  training.set_seed(run.seed);
  training.mutable_optimizer()->set_peak_lr(PeakLearningRate(run.size.width));
  training.mutable_optimizer()->set_warmup_steps(std::max<int64_t>(steps / 10, 1));
  training.set_valid_every(std::max<int64_t>(steps / 5, 20));
  training.set_valid_sequences(options.scale.valid_sequences);
  training.set_log_every(static_cast<int32_t>(std::max<int64_t>(steps / 10, 1)));
  config.mutable_checkpoint()->set_every(std::max<int64_t>(steps / 8, 1));
  config.mutable_checkpoint()->set_keep_last(2);
  return config;
}

absl::StatusOr<PlannedRun> PlanRun(const Options& options, Kind kind, const Size& size, int seed, double flops) {
  PlannedRun run;
  run.kind = kind;
  run.size = size;
  run.seed = seed;
  run.name = RunName(kind, size, seed);
  const Scale& scale = options.scale;
  const ModelConfig model = ModelOf(kind, size, options.vocab_size);
  run.parameters = LanguageModel::Create(model)->parameters().count();
  run.step_flops = scale.batch_sequences * TrainingFlops(model, scale.sequence_length);
  run.step_tokens = int64_t{scale.batch_sequences} * scale.sequence_length;
  const auto steps = static_cast<int64_t>(std::llround(flops / run.step_flops));
  if (steps < 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: %.3g FLOPs don't pay for a step of %.3g: give more --flops or --budget", run.name, flops, run.step_flops));
  }
  run.config = ConfigOf(options, run, steps);
  return run;
}

}  // namespace

std::string RunName(Kind kind, const Size& size, int seed) {
  return absl::StrCat(Name(kind), "-", size.name, seed == 1 ? "" : absl::StrCat("-seed", seed));
}

double PeakLearningRate(int width) { return 0.02 / std::sqrt(width); }

absl::StatusOr<std::vector<PlannedRun>> Plan(const Options& options) {
  const std::vector<Size>& sizes = options.scale.sizes;
  if (!options.flops.empty() && options.flops.size() != sizes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("--flops: ", options.flops.size(), " numbers for ", sizes.size(),
                                                   " sizes: give one for each, the smallest size first"));
  }
  std::vector<PlannedRun> runs;
  for (size_t s = 0; s < sizes.size(); ++s) {
    const double flops = options.budget * (options.flops.empty() ? sizes[s].flops : options.flops[s]);
    for (const Kind kind : options.kinds) {
      for (int seed = 1; seed <= options.seeds; ++seed) {
        PHOTON_ASSIGN_OR_RETURN(PlannedRun run, PlanRun(options, kind, sizes[s], seed, flops));
        runs.push_back(std::move(run));
      }
    }
  }
  return runs;
}

Spread WidestSpread(const std::vector<PlannedRun>& runs) {
  std::map<std::string, std::pair<double, double>> extremes;  // by size: least, most
  for (const PlannedRun& run : runs) {
    const auto parameters = static_cast<double>(run.parameters);
    auto& [least, most] = extremes.try_emplace(run.size.name, parameters, parameters).first->second;
    least = std::min(least, parameters);
    most = std::max(most, parameters);
  }
  Spread widest;
  for (const auto& [size, extreme] : extremes) {
    const double ratio = extreme.second / extreme.first;
    if (ratio >= widest.ratio) widest = {size, ratio};
  }
  return widest;
}

}  // namespace photon::study
