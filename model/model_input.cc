#include "model/model_input.h"

#include <algorithm>

#include "configs/model_config.h"
#include "core/ops/memory.h"
#include "core/profiler.h"
#include "model/batch_index.h"

namespace photon {
namespace {

// Hands out stretches of one long tensor, each at a whole cache line, and once it is there, views of it.
class Packing {
 public:
  // Where the `n` elements begin of which `view` will be a view.
  int64_t Add(int64_t n, Tensor* view) {
    constexpr int64_t kAlignment = 16;  // elements, of 4 bytes at least
    views_.push_back({total_, n, view});
    total_ += (n + kAlignment - 1) / kAlignment * kAlignment;
    return views_.back().begin;
  }
  Tensor Allocate(const Context& context, DType dtype) const {
    const Tensor whole = context.Empty({total_}, dtype);
    for (const auto& [begin, n, view] : views_) *view = whole.Rows(begin, begin + n);
    return whole;
  }

 private:
  struct View {
    int64_t begin, n;
    Tensor* view;
  };
  int64_t total_ = 0;
  std::vector<View> views_;
};

// What the parts of a batch come to, in the tensor's type T.
template <typename T, typename Parts>
std::vector<T> Gathered(const Parts& parts, int64_t total, const TokenBatch& batch, const LossScales& scales) {
  std::vector<T> all(total);
  for (const auto& part : parts) {
    const auto values = part.values(batch, scales);
    std::transform(values.begin(), values.end(), all.begin() + part.begin, [](auto v) { return static_cast<T>(v); });
  }
  return all;
}

}  // namespace

ModelInput::Form ModelInput::Form::Of(const TokenBatch& batch) {
  return {.sequences = batch.sequences, .length = batch.length, .masked = AnyMasked(batch)};
}

ModelInput::ModelInput(const Context& context, const LanguageModel& model, const Form& form)
    : form_(form), levels_(model.levels() + 1) {
  const ModelConfig& config = model.config();
  Packing integers, reals;
  const auto add = [&](int64_t n, Tensor* view, auto of_batch) {
    integer_parts_.push_back(
        {integers.Add(n, view), [=](const TokenBatch& b, const LossScales&) { return of_batch(b); }});
  };
  add(rows(), &ids_, [](const TokenBatch& b) { return b.tokens; });
  add(rows(), &targets_, [offset = model.target_offset()](const TokenBatch& b) { return RowTargets(b, offset); });
  real_parts_.push_back({reals.Add(rows(), &token_scale_), [](const TokenBatch& b, const LossScales& scales) {
                           return std::vector<double>(b.tokens.size(), scales.token);
                         }});

  const int top = model.levels();
  for (int l = top == 0 ? 0 : 1; l <= top; ++l) {
    Level& level = levels_[l];
    const int64_t per_unit = ChunkProduct(config, l);
    PHOTON_CHECK(form.length % per_unit == 0) << "T " << form.length << ", C_<=l " << per_unit;
    const int64_t units = rows() / per_unit;
    const bool grouped = config.encoder_scope() == ModelConfig::GROUP && l < top;
    // A group never holds two documents (they are aligned to C_<=L), so it needs no mask of its own.
    const int64_t length = grouped ? config.levels(l).chunk() : form.length / per_unit;
    level.encoder = model.plans().Causal(context, units / length, length);
    if (form.masked && !grouped) {
      add(units, &level.encoder.shape.first_key, [=](const TokenBatch& b) { return DocumentUnits(b, per_unit); });
    }
    if (l == 0) continue;
    if (l == top || config.shift() == ModelConfig::ALL) {
      add(units, &level.shift, [=](const TokenBatch& b) { return ShiftIndex(b, per_unit); });
    }
    const int64_t per_below = ChunkProduct(config, l - 1), below = rows() / per_below;
    add(below, &level.unit_mask, [=](const TokenBatch& b) { return RealUnits(b, per_below); });
    real_parts_.push_back({reals.Add(below, &level.unit_scale), [=](const TokenBatch& b, const LossScales& scales) {
                             const std::vector<int32_t> real = RealUnits(b, per_below);
                             std::vector<double> values(real.begin(), real.end());
                             for (double& value : values) value *= scales.units.empty() ? 0 : scales.units[l - 1];
                             return values;
                           }});
  }
  integers_ = integers.Allocate(context, DType::kI32);
  reals_ = reals.Allocate(context, model.master_type());
}

ModelInput::ModelInput(const Context& context, const LanguageModel& model, const TokenBatch& batch,
                       const LossScales& scales)
    : ModelInput(context, model, Form::Of(batch)) {
  Update(context, batch, scales);
}

void ModelInput::Update(const Context& context, const TokenBatch& batch, const LossScales& scales) {
  const Scope scope(context, "model input");
  const Form form = Form::Of(batch);
  PHOTON_CHECK(form.sequences == form_.sequences && form.length == form_.length && form.masked <= form_.masked)
      << form.sequences << " sequences of " << form.length << (form.masked ? ", masked" : "") << ", in the place of "
      << form_.sequences << " of " << form_.length;
  ops::CopyFromHost(context, Gathered<int32_t>(integer_parts_, integers_.elements(), batch, scales).data(), integers_);
  VisitFloat(reals_.dtype(), [&](auto tag) {
    using T = AccumulateType<decltype(tag)>;
    ops::CopyFromHost(context, Gathered<T>(real_parts_, reals_.elements(), batch, scales).data(), reals_);
  });
}

}  // namespace photon
