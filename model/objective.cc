#include "model/objective.h"

#include <algorithm>

#include "configs/model_config.h"
#include "core/ops/cosine.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "core/profiler.h"
#include "model/batch_index.h"
#include "model/split_cross_entropy.h"

namespace photon {
namespace {

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

}  // namespace

LossCounts LossCounts::Of(const ModelConfig& config, const TokenBatch& batch) {
  LossCounts counts;
  counts.tokens = std::count(batch.scored.begin(), batch.scored.end(), 1);
  for (int l = 1; l <= config.levels_size(); ++l) {
    const std::vector<int32_t> real = RealUnits(batch, ChunkProduct(config, l - 1));
    counts.units.push_back(std::count(real.begin(), real.end(), 1));
  }
  return counts;
}

void LossCounts::Add(const LossCounts& other) {
  tokens += other.tokens;
  units.resize(std::max(units.size(), other.units.size()));
  for (size_t i = 0; i < other.units.size(); ++i) units[i] += other.units[i];
}

LossScales LossCounts::Scales(const ObjectiveConfig& objective) const {
  LossScales scales{.token = 1.0 / static_cast<double>(std::max<int64_t>(tokens, 1)), .units = {}};
  for (const int64_t n : units)
    scales.units.push_back(objective.alpha() / static_cast<double>(std::max<int64_t>(n, 1)));
  return scales;
}

LossRows ComputeLoss(const LanguageModel& model, Tape& tape, const ModelInput& input, const ObjectiveConfig& objective,
                     const ForwardOptions& options) {
  LanguageModel::Passage passage = model.Begin();
  const auto items = static_cast<int>(model.items().size());
  return ComputeLossOfItems(model, tape, input, objective, options, 0, items, &passage);
}

LossRows ComputeLossOfItems(const LanguageModel& model, Tape& tape, const ModelInput& input,
                            const ObjectiveConfig& objective, const ForwardOptions& options, int begin, int end,
                            LanguageModel::Passage* passage, const LanguageModel::AfterItem& done) {
  const Context& context = tape.context();
  const DType dtype = model.master_type();
  const bool head = end == static_cast<int>(model.items().size());
  LossRows result{.nll = {}, .distances = std::vector<Tensor>(model.levels())};
  if (head) result.nll = context.Empty({input.rows()}, dtype);
  const bool level_one = head && objective.level_one_term() && model.levels() > 0;
  if (level_one) result.distances[0] = context.Empty({input.rows()}, dtype);

  const LogitsSink sink = [&](Tape& t, const Var& hidden, const Var& logits, int64_t first, int64_t last) {
    const Scope scope(context, "loss");
    if (level_one) {
      const Var embedded = model.EmbedTokens(t, input, first, last);
      const Tensor part = DistanceTerm(t, hidden, embedded, input.unit_scale(1).Rows(first, last), objective);
      ops::Cast(context, part, result.distances[0].Rows(first, last));
    }
    const auto slice = [&](const Tensor& all) { return input.Gathered(all, first, last); };
    const Tensor scale = tape.recording() ? slice(input.token_scale()) : Tensor();
    const Tensor nll = result.nll.Rows(first, last);
    if (model.layout().splits_vocabulary()) {
      SplitCrossEntropy(t, model.layout().tp(), logits, slice(input.token_targets()), slice(input.token_scored()),
                        scale, nll);
    } else {
      ops::CrossEntropy(t, logits, slice(input.token_targets()), scale, nll);
    }
  };
  model.RunItems(tape, input, options, begin, end, sink, passage, done);
  for (const Reconstruction& r : passage->reconstructions) {
    const Scope scope(context, "loss");
    result.distances[r.level - 1] =
        DistanceTerm(tape, r.reconstructed, r.encoded, input.unit_scale(r.level), objective);
  }
  return result;
}

void AddLoss(const Context& context, const ModelInput& input, const LossRows& rows, const Tensor& sums) {
  const Scope scope(context, "loss");
  if (rows.nll.defined() && input.counts_tokens()) ops::AccumulateSum(context, rows.nll, {}, sums.Rows(0, 1));
  for (int l = 1; l <= static_cast<int>(rows.distances.size()); ++l) {
    const Tensor& distances = rows.distances[l - 1];
    if (distances.defined() && input.counts_units(l))
      ops::AccumulateSum(context, distances, input.unit_mask(l), sums.Rows(l, l + 1));
  }
}

}  // namespace photon
