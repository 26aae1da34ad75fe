#include "model/chunker.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/ops/matmul.h"
#include "core/ops/rms_norm.h"
#include "core/profiler.h"

namespace photon {

Chunker::Chunker(ParameterSet& parameters, const ModelConfig& config, int level,
                 const std::optional<Placement>& placement)
    : name_(absl::StrCat("level.", level, ".chunker")),
      chunk_(config.levels(level - 1).chunk()),
      width_(config.width()),
      eps_(config.norm_eps()),
      parameters_(&parameters) {
  if (level == 1 || !placement.has_value()) return;
  const std::string p = name_ + ".";
  const int64_t in = chunk_ * width_;
  norm_ = parameters.Add({{p + "norm.weight", {in}, {.mean = 1, .stddev = 0}, false, *placement}});
  const double stddev = 1 / std::sqrt(static_cast<double>(in));
  proj_ = parameters.Add({{p + "proj.weight", {width_, in}, {0, stddev}, true, *placement}}, true);
  bias_ = parameters.Add({{p + "proj.bias", {width_}, {}, false, *placement}});
}

Var Chunker::Forward(Tape& tape, const Var& x) const {
  const Scope scope(tape.context(), name_);
  const Var joined = x.Reshape({x.value.dim(0) / chunk_, chunk_ * x.value.dim(1)});
  if (norm_ == nullptr) return joined;
  const Var normalized = ops::AddRmsNorm(tape, joined, Var(), *norm_, eps_, parameters_->options().compute).normalized;
  return ops::Linear(tape, normalized, *proj_, bias_, parameters_->options().master);
}

Converter::Converter(ParameterSet& parameters, const ModelConfig& config, int level,
                     const std::optional<Placement>& placement)
    : name_(absl::StrCat("level.", level, ".converter")),
      prefix_(config.levels(level - 1).prefix()),
      width_(config.width()),
      parameters_(&parameters) {
  if (!placement.has_value()) return;
  const std::string p = name_ + ".";
  const double stddev = 1 / std::sqrt(static_cast<double>(width_));
  weight_ = parameters.Add({{p + "weight", {prefix_ * width_, width_}, {0, stddev}, true, *placement}}, true);
  bias_ = parameters.Add({{p + "bias", {prefix_ * width_}, {}, false, *placement}});
}

Var Converter::Forward(Tape& tape, const Var& x) const {
  const Scope scope(tape.context(), name_);
  const Var out = ops::Linear(tape, x, *weight_, bias_, parameters_->options().master);
  return out.Reshape({x.value.dim(0) * prefix_, width_});
}

}  // namespace photon
