#include "model/objective.h"

#include <algorithm>

#include "configs/model_config.h"
#include "core/ops/cosine.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/elementwise.h"
#include "core/profiler.h"

namespace photon {
namespace {

// 1 for every level-(l-1) unit that holds a real token.
std::vector<uint8_t> RealUnits(const ModelConfig& config, const TokenBatch& batch, int level) {
  const int64_t per_unit = ChunkProduct(config, level - 1);
  std::vector<uint8_t> real(batch.real.size() / per_unit);
  for (size_t u = 0; u < real.size(); ++u) {
    const auto begin = batch.real.begin() + static_cast<int64_t>(u) * per_unit;
    real[u] = std::any_of(begin, begin + per_unit, [](uint8_t r) { return r != 0; });
  }
  return real;
}

// The token that each row's logits score, -1 where none is.
std::vector<int32_t> RowTargets(const TokenBatch& batch, int offset) {
  std::vector<int32_t> targets(batch.tokens.size(), -1);
  for (size_t row = 0; row < targets.size(); ++row) {
    const int64_t position = static_cast<int64_t>(row) % batch.length + offset;
    if (position < batch.length && batch.scored[row + offset]) targets[row] = batch.tokens[row + offset];
  }
  return targets;
}

Tensor UploadAs(const Context& context, const std::vector<double>& values, DType dtype) {
  const Shape shape = {static_cast<int64_t>(values.size())};
  if (dtype == DType::kF64) return context.FromHost(values.data(), shape, dtype);
  const std::vector<float> narrow(values.begin(), values.end());
  return context.FromHost(narrow.data(), shape, DType::kF32);
}

// scale per unit: weight / count for real units, 0 for padding.
Tensor UnitScale(const Context& context, const std::vector<uint8_t>& real, double scale, DType dtype) {
  std::vector<double> values(real.size());
  std::transform(real.begin(), real.end(), values.begin(), [scale](uint8_t r) { return r ? scale : 0.0; });
  return UploadAs(context, values, dtype);
}

// One term of L_rec: rows of `a` against `b`, a sink while it has weight.
Tensor DistanceTerm(Tape& tape, Var a, Var b, const Tensor& scale, const ObjectiveConfig& objective) {
  const Tensor distance = tape.context().Empty({a.value.dim(0)}, a.value.dtype());
  if (objective.stop_gradient()) b = b.Detach();
  const bool weighted = tape.recording() && objective.alpha() != 0;
  if (!weighted) {
    a = a.Detach();
    b = b.Detach();
  }
  ops::CosineDistance(tape, a, b, weighted ? scale : Tensor(), distance);
  return distance;
}

double SumDoubles(const Context& context, const Tensor& tensor, const std::vector<uint8_t>* mask) {
  double sum = 0;
  VisitFloat(tensor.dtype(), [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> values(tensor.elements());
    context.ToHost(tensor, values.data());
    for (size_t i = 0; i < values.size(); ++i) {
      if (mask == nullptr || (*mask)[i]) sum += static_cast<double>(values[i]);
    }
  });
  return sum;
}

}  // namespace

LossCounts LossCounts::Of(const ModelConfig& config, const TokenBatch& batch) {
  LossCounts counts;
  counts.tokens = std::count(batch.scored.begin(), batch.scored.end(), 1);
  for (int l = 1; l <= config.levels_size(); ++l) {
    const std::vector<uint8_t> real = RealUnits(config, batch, l);
    counts.units.push_back(std::count(real.begin(), real.end(), 1));
  }
  return counts;
}

void LossCounts::Add(const LossCounts& other) {
  tokens += other.tokens;
  units.resize(std::max(units.size(), other.units.size()));
  for (size_t i = 0; i < other.units.size(); ++i) units[i] += other.units[i];
}

LossRows ComputeLoss(const LanguageModel& model, Tape& tape, const TokenBatch& batch, const ObjectiveConfig& objective,
                     const LossCounts& counts, const ForwardOptions& options) {
  const Context& context = tape.context();
  const DType dtype = model.master_type();
  const int64_t rows = static_cast<int64_t>(batch.tokens.size());
  LossRows result{.nll = context.Empty({rows}, dtype), .distances = std::vector<Tensor>(model.levels())};

  const auto unit_scale = [&](int level) {
    const double scale = objective.alpha() / static_cast<double>(std::max<int64_t>(counts.units[level - 1], 1));
    return UnitScale(context, RealUnits(model.config(), batch, level), scale, dtype);
  };
  const bool level_one = objective.level_one_term() && model.levels() > 0;
  Tensor token_scale;
  if (level_one) {
    result.distances[0] = context.Empty({rows}, dtype);
    token_scale = unit_scale(1);
  }
  const std::vector<int32_t> target_ids = RowTargets(batch, model.target_offset());
  const Tensor targets = context.FromHost(target_ids.data(), {rows}, DType::kI32);
  const Tensor ids = context.FromHost(batch.tokens.data(), {rows}, DType::kI32);
  Tensor ce_scale;
  if (tape.recording()) {
    const double scale = 1.0 / static_cast<double>(std::max<int64_t>(counts.tokens, 1));
    ce_scale = UploadAs(context, std::vector<double>(rows, scale), dtype);
  }

  const LogitsSink sink = [&](Tape& t, const Var& hidden, const Var& logits, int64_t begin, int64_t end) {
    const Scope scope(context, "loss");
    if (level_one) {
      const Tensor part =
          DistanceTerm(t, hidden, model.EmbedTokens(t, ids.Rows(begin, end)), token_scale.Rows(begin, end), objective);
      ops::Cast(context, part, result.distances[0].Rows(begin, end));
    }
    ops::CrossEntropy(t, logits, targets.Rows(begin, end), ce_scale.defined() ? ce_scale.Rows(begin, end) : Tensor(),
                      result.nll.Rows(begin, end));
  };
  for (const Reconstruction& r : model.Forward(tape, batch, options, sink)) {
    const Scope scope(context, "loss");
    result.distances[r.level - 1] = DistanceTerm(tape, r.reconstructed, r.encoded, unit_scale(r.level), objective);
  }
  return result;
}

LossSums SumLoss(const Context& context, const LanguageModel& model, const TokenBatch& batch, const LossRows& rows) {
  const Scope scope(context, "loss");
  LossSums sums{.nll = SumDoubles(context, rows.nll, nullptr), .distances = std::vector<double>(rows.distances.size())};
  for (size_t i = 0; i < rows.distances.size(); ++i) {
    if (!rows.distances[i].defined()) continue;
    const std::vector<uint8_t> real = RealUnits(model.config(), batch, static_cast<int>(i) + 1);
    sums.distances[i] = SumDoubles(context, rows.distances[i], &real);
  }
  return sums;
}

}  // namespace photon
