#include "model/batch_plan.h"

#include <algorithm>

#include "configs/model_config.h"
#include "core/profiler.h"

namespace photon {
namespace {

Tensor Upload(const Context& context, const std::vector<int32_t>& values) {
  return context.FromHost(values.data(), {static_cast<int64_t>(values.size())}, DType::kI32);
}

// For every level-`level` unit of the batch, the index in its sequence of its document's first unit.
std::vector<int32_t> DocumentUnits(const TokenBatch& batch, int64_t tokens_per_unit) {
  const int64_t units = static_cast<int64_t>(batch.tokens.size()) / tokens_per_unit;
  std::vector<int32_t> begin(units);
  for (int64_t u = 0; u < units; ++u) {
    begin[u] = static_cast<int32_t>(batch.document_begin[u * tokens_per_unit] / tokens_per_unit);
  }
  return begin;
}

}  // namespace

AttentionPlan EncoderPlan(const Context& context, const ModelConfig& config, const TokenBatch& batch, int level) {
  const Scope scope(context, "row indices");
  const int64_t tokens_per_unit = ChunkProduct(config, level);
  PHOTON_CHECK(batch.length % tokens_per_unit == 0) << "T " << batch.length << ", C_<=l " << tokens_per_unit;
  const int64_t units = batch.length / tokens_per_unit;
  const bool grouped = config.encoder_scope() == ModelConfig::GROUP && level < config.levels_size();
  // A group never holds two documents (they are aligned to C_<=L), so it needs no mask of its own.
  const int64_t length = grouped ? config.levels(level).chunk() : units;

  AttentionPlan plan;
  plan.shape.batch = batch.sequences * units / length;
  plan.shape.length = length;
  std::vector<int32_t> positions(batch.sequences * units);
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i % length);
  plan.positions = Upload(context, positions);
  if (!grouped) {
    const std::vector<int32_t> first = DocumentUnits(batch, tokens_per_unit);
    if (std::any_of(first.begin(), first.end(), [](int32_t f) { return f > 0; })) {
      plan.shape.first_key = Upload(context, first);
    }
  }
  return plan;
}

Tensor ShiftIndex(const Context& context, const ModelConfig& config, const TokenBatch& batch, int level) {
  const Scope scope(context, "row indices");
  const int64_t tokens_per_unit = ChunkProduct(config, level);
  const int64_t units = batch.length / tokens_per_unit;
  std::vector<int32_t> index = DocumentUnits(batch, tokens_per_unit);
  for (size_t i = 0; i < index.size(); ++i) {
    const int64_t unit = static_cast<int64_t>(i) % units;
    index[i] = unit == index[i] ? -1 : static_cast<int32_t>(i) - 1;
  }
  return Upload(context, index);
}

WindowPlan MakeWindowPlan(const Context& context, int64_t units, int64_t prefix, int64_t contents, int64_t stride) {
  const Scope scope(context, "row indices");
  const int64_t length = prefix + contents;
  std::vector<int32_t> assemble, read_out, positions, last;
  for (int64_t g = 0; g < units; ++g) {
    for (int64_t i = 0; i < length; ++i) {
      assemble.push_back(static_cast<int32_t>(i < prefix ? -1 - (g * prefix + i) : g * stride + i - prefix));
      positions.push_back(static_cast<int32_t>(i));
      if (i >= prefix - 1) read_out.push_back(static_cast<int32_t>(g * length + i));
    }
    last.push_back(static_cast<int32_t>((g + 1) * length - 1));
  }
  WindowPlan plan;
  plan.attention.shape.batch = units;
  plan.attention.shape.length = length;
  plan.attention.positions = Upload(context, positions);
  plan.assemble = Upload(context, assemble);
  plan.read_out = Upload(context, read_out);
  plan.last = Upload(context, last);
  return plan;
}

Tensor AppendColumnIndex(const Context& context, int64_t units, int64_t columns) {
  std::vector<int32_t> index;
  for (int64_t g = 0; g < units; ++g) {
    for (int64_t j = 0; j < columns; ++j) index.push_back(static_cast<int32_t>(g * columns + j));
    index.push_back(static_cast<int32_t>(-1 - g));
  }
  return Upload(context, index);
}

}  // namespace photon
