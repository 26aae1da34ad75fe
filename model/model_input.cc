#include "model/model_input.h"

#include <algorithm>
#include <utility>

#include "configs/model_config.h"
#include "core/ops/memory.h"
#include "core/profiler.h"
#include "model/batch_index.h"

namespace photon {
namespace {

// What the parts of a batch come to, in the tensor's type T.
template <typename T, typename Parts>
std::vector<T> Values(const Parts& parts, int64_t total, const TokenBatch& batch, const LossScales& scales) {
  std::vector<T> all(total);
  for (const auto& part : parts) {
    const auto values = part.values(batch, scales);
    std::transform(values.begin(), values.end(), all.begin() + part.begin, [](auto v) { return static_cast<T>(v); });
  }
  return all;
}

// The rows of `ranks` tp ranks, of each the rows of its span, in the order in which slices of `slice` rows gather them.
struct GatherOrder {
  const Communicator* tp;
  const Communicator* spans;
  int64_t slice;

  // `values` of whole sequences.
  template <typename T>
  std::vector<T> operator()(const std::vector<T>& values, int64_t sequences) const {
    const int64_t ranks = tp->size(), first = spans->rank() - tp->rank();
    std::vector<std::vector<T>> of_rank;
    for (int64_t r = 0; r < ranks; ++r) of_rank.push_back(Span{first + r, spans->size()}.Cut(values, sequences));
    const auto rows = static_cast<int64_t>(of_rank[0].size());
    std::vector<T> ordered;
    ordered.reserve(rows * ranks);
    for (int64_t begin = 0; begin < rows; begin += slice) {
      const int64_t end = std::min(rows, begin + slice);
      for (const std::vector<T>& own : of_rank) ordered.insert(ordered.end(), own.begin() + begin, own.begin() + end);
    }
    return ordered;
  }
};

// Ids as rows of part `rank` of a vocabulary of `size` in `parts`; -1 where they are in another, or negative.
std::vector<int32_t> InPart(std::vector<int32_t> ids, int64_t size, int rank, int parts) {
  const int64_t each = size / parts, begin = rank * each;
  for (int32_t& id : ids) id = id >= begin && id < begin + each ? static_cast<int32_t>(id - begin) : -1;
  return ids;
}

}  // namespace

ModelInput::Form ModelInput::Form::Of(const TokenBatch& batch, int64_t slice_tokens) {
  return {
      .sequences = batch.sequences, .length = batch.length, .masked = AnyMasked(batch), .slice_tokens = slice_tokens};
}

ModelInput::ModelInput(const Context& context, const LanguageModel& model, const Form& form)
    : form_(form), levels_(model.levels() + 1) {
  rows_ = form.sequences * form.length / model.layout().span(model.layout().tokens()).count;
  AddTokens(model);
  AddLevels(context, model);
  integers_ = std::exchange(integer_places_, {}).Allocate(context, DType::kI32);
  reals_ = std::exchange(real_places_, {}).Allocate(context, model.master_type());
}

ModelInput::ModelInput(const Context& context, const LanguageModel& model, const TokenBatch& batch,
                       const LossScales& scales, int64_t slice_tokens)
    : ModelInput(context, model, Form::Of(batch, slice_tokens)) {
  Update(context, batch, scales);
}

void ModelInput::AddIntegers(int64_t n, Tensor* view,
                             std::function<std::vector<int32_t>(const TokenBatch& batch)> values) {
  integer_parts_.push_back(
      {integer_places_.Add(n, view),
       [values = std::move(values)](const TokenBatch& b, const LossScales&) { return values(b); }});
}

void ModelInput::AddReals(
    int64_t n, Tensor* view,
    std::function<std::vector<double>(const TokenBatch& batch, const LossScales& scales)> values) {
  real_parts_.push_back({real_places_.Add(n, view), std::move(values)});
}

void ModelInput::AddTokens(const LanguageModel& model) {
  const ModelLayout& layout = model.layout();
  const bool split = layout.splits_vocabulary();
  const int64_t vocabulary = model.config().vocab_size();
  const int rank = layout.tp().rank(), ranks = layout.tp().size();
  const auto targets = [offset = model.target_offset()](const TokenBatch& b) { return RowTargets(b, offset); };
  const auto tokens = [](const TokenBatch& b) { return b.tokens; };
  // Values of whole sequences, in the order in which rows of the share are worked on.
  const auto ordered = [&](Share share, int64_t slice, auto values) {
    const bool gathers = split && share == Share::kSplit;
    return [=, gather = GatherOrder{&layout.tp(), &layout.spans(Share::kSplit), slice},
            span = layout.span(share)](const TokenBatch& b) {
      return gathers ? gather(values(b), b.sequences) : span.Cut(values(b), b.sequences);
    };
  };
  const auto here = [=](auto values) {
    return [=](const TokenBatch& b) { return split ? InPart(values(b), vocabulary, rank, ranks) : values(b); };
  };

  const Share share = layout.tokens(), encoders = layout.encoder(1);
  tokens_.counted = layout.counts(share);
  tokens_.gathered = split && share == Share::kSplit ? ranks : 1;
  const int64_t rows = rows_ * tokens_.gathered, slice = model.SliceRows(form_.slice_tokens, rows_);
  AddIntegers(rows, &tokens_.ids, here(ordered(share, slice, tokens)));
  // A pipeline runs the level-1 decoder without slices, and the head in slices.
  AddIntegers(rows, &tokens_.whole_ids, here(ordered(share, rows_, tokens)));
  AddIntegers(rows, &tokens_.targets, here(ordered(share, slice, targets)));
  if (split) AddIntegers(rows, &tokens_.scored, ordered(share, slice, targets));
  AddReals(rows, &tokens_.scale,
           [rows](const TokenBatch&, const LossScales& scales) { return std::vector<double>(rows, scales.token); });

  const int64_t own = form_.sequences * form_.length / layout.span(encoders).count;
  const int64_t gathered = split && encoders == Share::kSplit ? ranks : 1;
  AddIntegers(own * gathered, &encoder_ids_, here(ordered(encoders, own, tokens)));
}

void ModelInput::AddLevels(const Context& context, const LanguageModel& model) {
  const ModelConfig& config = model.config();
  const ModelLayout& layout = model.layout();
  const int top = model.levels();
  for (int l = top == 0 ? 0 : 1; l <= top; ++l) {
    Level& level = levels_[l];
    const int stack = std::max(l, 1);  // the flat model's stack counts as level 1's encoder
    const int64_t per_unit = ChunkProduct(config, l);
    const Span span = layout.everywhere(stack) ? Span() : layout.span(layout.encoder(stack));
    PHOTON_CHECK(form_.length % (per_unit * span.count) == 0)
        << "T " << form_.length << ", C_<=l " << per_unit << ", spans " << span.count;
    const int64_t length = form_.length / per_unit / span.count, units = form_.sequences * length;
    const bool grouped = config.encoder_scope() == ModelConfig::GROUP && l < top;
    if (grouped) {
      // A group never holds two documents (they are aligned to C_<=L), so it needs no mask of its own.
      const int64_t group = config.levels(l).chunk();
      PHOTON_CHECK(length % group == 0) << length << " units of a span, groups of " << group;
      level.encoder = model.plans().Causal(context, units / group, group);
    } else {
      level.encoder = model.plans().Causal(context, form_.sequences, length, span.index * length);
    }
    if (form_.masked && !grouped) {
      AddIntegers(units, &level.encoder.shape.first_key,
                  [=](const TokenBatch& b) { return span.Cut(DocumentUnits(b, per_unit), b.sequences); });
    }
    if (l == 0) continue;
    if (l == top || config.shift() == ModelConfig::ALL) {
      const Span own = layout.span(layout.shift(l));
      // With all units at hand the shift takes its rows from them.
      const bool all = l == top && layout.everywhere(l);
      AddIntegers(form_.sequences * form_.length / per_unit / own.count, &level.shift, [=](const TokenBatch& b) {
        return all ? own.Cut(ShiftIndex(b, per_unit), b.sequences) : ShiftIndex(b, per_unit, own);
      });
    }
    const Span decoded = layout.span(layout.decoder(l));
    level.counted = layout.counts(layout.decoder(l));
    const int64_t per_below = ChunkProduct(config, l - 1);
    const int64_t below = form_.sequences * form_.length / per_below / decoded.count;
    const auto real = [=](const TokenBatch& b) { return decoded.Cut(RealUnits(b, per_below), b.sequences); };
    AddIntegers(below, &level.unit_mask, real);
    AddReals(below, &level.unit_scale, [=](const TokenBatch& b, const LossScales& scales) {
      const std::vector<int32_t> mask = real(b);
      std::vector<double> values(mask.begin(), mask.end());
      for (double& value : values) value *= scales.units.empty() ? 0 : scales.units[l - 1];
      return values;
    });
  }
}

void ModelInput::Update(const Context& context, const TokenBatch& batch, const LossScales& scales) {
  const Scope scope(context, "model input");
  const Form form = Form::Of(batch);
  PHOTON_CHECK(form.sequences == form_.sequences && form.length == form_.length && form.masked <= form_.masked)
      << form.sequences << " sequences of " << form.length << (form.masked ? ", masked" : "") << ", in the place of "
      << form_.sequences << " of " << form_.length;
  ops::CopyFromHost(context, Values<int32_t>(integer_parts_, integers_.elements(), batch, scales).data(), integers_);
  VisitFloat(reals_.dtype(), [&](auto tag) {
    using T = AccumulateType<decltype(tag)>;
    ops::CopyFromHost(context, Values<T>(real_parts_, reals_.elements(), batch, scales).data(), reals_);
  });
}

}  // namespace photon
