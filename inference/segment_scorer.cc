#include "inference/segment_scorer.h"

#include <algorithm>
#include <optional>

#include "core/ops/elementwise.h"
#include "core/ops/rows.h"
#include "inference/flat_decoder.h"
#include "inference/meta_context_decoder.h"
#include "inference/rows.h"

namespace photon {
namespace {

class SequenceStates {
 public:
  SequenceStates(const Decoder& decoder, int64_t sequences, int64_t expected_tokens) {
    for (int64_t i = 0; i < sequences; ++i) states_.push_back(decoder.NewState(expected_tokens));
    for (DecodingState& state : states_) pointers_.push_back(&state);
  }
  States all() const { return pointers_; }

 private:
  std::vector<DecodingState> states_;
  std::vector<DecodingState*> pointers_;
};

// Groups of `size` rows that hold a wanted one.
std::vector<int32_t> WantedGroups(const std::vector<bool>& wanted, int64_t size) {
  std::vector<int32_t> groups;
  for (size_t row = 0; row < wanted.size(); ++row) {
    const auto group = static_cast<int32_t>(row / size);
    if (wanted[row] && (groups.empty() || groups.back() != group)) groups.push_back(group);
  }
  return groups;
}

// Rows index[i] of x [N, D].
Tensor PickRows(const Context& context, const Tensor& x, absl::Span<const int32_t> index) {
  const Tensor picked = context.Empty({static_cast<int64_t>(index.size()), x.dim(1)}, x.dtype());
  ops::SelectRows(context, x, Tensor(), UploadIds(context, index), picked);
  return picked;
}

class FlatSegmentScorer final : public SegmentScorer {
 public:
  FlatSegmentScorer(const Context& context, const VanillaModel& model, int64_t sequences, int64_t expected_tokens)
      : context_(context), model_(model), decoder_(context, model), states_(decoder_, sequences, expected_tokens) {}

  void Read(absl::Span<const int32_t> tokens, const std::vector<bool>& wanted, const LogitsVisitor& visit) override {
    Step step(context_);
    const Step::Value read = decoder_.Read(step, states_.all(), tokens);
    const Tensor hidden = RunOnce(context_, step)[read];
    const std::vector<int32_t> rows = WantedGroups(wanted, 1);
    Tape tape(context_, Tape::Mode::kEvaluate);
    for (size_t begin = 0; begin < rows.size(); begin += kSliceTokens) {
      const auto slice = absl::MakeConstSpan(rows).subspan(begin, kSliceTokens);
      visit(model_.Head(tape, Var(PickRows(context_, hidden, slice))).value,
            std::vector<int64_t>(slice.begin(), slice.end()));
    }
  }
  void BeginRec() override { PHOTON_CHECK(false) << "a flat model has no rec"; }

 private:
  const Context& context_;
  const VanillaModel& model_;
  FlatDecoder decoder_;
  SequenceStates states_;
};

class PhotonSegmentScorer final : public SegmentScorer {
 public:
  PhotonSegmentScorer(const Context& context, const PhotonModel& model, GenerationMode mode, int64_t sequences,
                      int64_t expected_tokens)
      : context_(context),
        model_(model),
        encoded_contents_(model.config().contents() == ModelConfig::ENCODED && mode != GenerationMode::kHierParallel),
        decoder_(context, model),
        states_(decoder_, sequences, expected_tokens) {}

  void Read(absl::Span<const int32_t> tokens, const std::vector<bool>& wanted, const LogitsVisitor& visit) override {
    ReadChunks(rec_ ? RecSources(static_cast<int64_t>(tokens.size())) : ExactSources(tokens), tokens, wanted, visit);
  }
  void BeginRec() override {
    rec_.emplace(context_, decoder_, MetaContextDecoder::Feedback::kReconstruction);
    rec_->TakeOver(states_.all());
  }

 private:
  int64_t sequences() const { return static_cast<int64_t>(states_.all().size()); }
  Tensor ExactSources(absl::Span<const int32_t> tokens) const;
  Tensor ShiftOn(const Tensor& x, const Tensor& before) const;
  Tensor ShiftAt(int l, const Tensor& x) const;
  Tensor RecSources(int64_t tokens);
  void ReadChunks(const Tensor& sources, absl::Span<const int32_t> tokens, const std::vector<bool>& wanted,
                  const LogitsVisitor& visit) const;

  const Context& context_;
  const PhotonModel& model_;
  const bool encoded_contents_;
  PhotonDecoder decoder_;
  SequenceStates states_;
  std::optional<MetaContextDecoder> rec_;
};

// S^1 of the segment's level-1 units, [M_1, D], all tokens before the segment being read exactly.
Tensor PhotonSegmentScorer::ExactSources(absl::Span<const int32_t> tokens) const {
  Step step(context_);
  const Step::Value tops = decoder_.TopSources(step, states_.all());
  const std::vector<Step::Value> encoded = decoder_.EncodeMetaContexts(step, states_.all(), tokens);
  const Step::Values values = RunOnce(context_, step);
  Tape tape(context_, Tape::Mode::kEvaluate);
  Tensor sources = ShiftOn(values[encoded.back()], values[tops]);
  for (int l = model_.levels(); l >= 2; --l) {
    sources = model_.DecodeLevel(tape, l, Var(sources), encoded_contents_ ? Var(values[encoded[l - 2]]) : Var()).value;
    if (model_.shifts(l - 1)) sources = ShiftAt(l - 1, sources);
  }
  return sources;
}

// Every sequence's rows of x [sequences * n, D] one place later, behind its row of `before` [sequences, D].
Tensor PhotonSegmentScorer::ShiftOn(const Tensor& x, const Tensor& before) const {
  const int64_t each = x.dim(0) / sequences();
  std::vector<int32_t> index;
  for (int64_t row = 0; row < x.dim(0); ++row) {
    index.push_back(static_cast<int32_t>(row % each == 0 ? -1 - row / each : row - 1));
  }
  const Tensor shifted = context_.Empty(x.shape(), x.dtype());
  ops::SelectRows(context_, x, before, UploadIds(context_, index), shifted);
  return shifted;
}

// The same for Xh^l with shift ALL; the states remember the last rows.
Tensor PhotonSegmentScorer::ShiftAt(int l, const Tensor& x) const {
  const int64_t each = x.dim(0) / sequences();
  std::vector<Tensor> rows;
  for (DecodingState* state : states_.all()) rows.push_back(state->shifted[l - 1]);
  Step step(context_);
  const Step::Value before = step.Gather(rows);
  const Tensor shifted_in = RunOnce(context_, step)[before];
  for (int64_t i = 0; i < sequences(); ++i) ops::Cast(context_, x.Rows((i + 1) * each - 1, (i + 1) * each), rows[i]);
  return ShiftOn(x, shifted_in);
}

// S^1 of the segment's level-1 units by rec: meta-context after meta-context, which is all that rec needs in order.
Tensor PhotonSegmentScorer::RecSources(int64_t tokens) {
  const int64_t steps = tokens / sequences() / decoder_.meta_context();
  const int64_t units = decoder_.meta_context() / model_.level(1).chunk;
  Tensor sources;
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor next = rec_->Advance(states_.all());
    if (step == 0) sources = context_.Empty({sequences() * steps * units, next.dim(1)}, next.dtype());
    for (int64_t i = 0; i < sequences(); ++i) {
      const int64_t row = (i * steps + step) * units;
      ops::Cast(context_, next.Rows(i * units, (i + 1) * units), sources.Rows(row, row + units));
    }
  }
  return sources;
}

void PhotonSegmentScorer::ReadChunks(const Tensor& sources, absl::Span<const int32_t> tokens,
                                     const std::vector<bool>& wanted, const LogitsVisitor& visit) const {
  const int64_t chunk = model_.level(1).chunk, slice = std::max<int64_t>(kSliceTokens / chunk, 1);
  const std::vector<int32_t> chunks = WantedGroups(wanted, chunk);
  Tape tape(context_, Tape::Mode::kEvaluate);
  for (size_t begin = 0; begin < chunks.size(); begin += slice) {
    const auto picked = absl::MakeConstSpan(chunks).subspan(begin, slice);
    std::vector<int32_t> ids;
    std::vector<int64_t> rows;
    for (const int64_t of : picked) {
      for (int64_t row = of * chunk; row < (of + 1) * chunk; ++row) {
        ids.push_back(tokens[row]);
        rows.push_back(row);
      }
    }
    const Var contents = model_.EmbedTokens(tape, UploadIds(context_, ids));
    const Var hidden = model_.DecodeLevel(tape, 1, Var(PickRows(context_, sources, picked)), contents);
    visit(model_.Head(tape, hidden).value, rows);
  }
}

}  // namespace

std::unique_ptr<SegmentScorer> SegmentScorer::Create(const Context& context, const LanguageModel& model,
                                                     GenerationMode mode, int64_t sequences, int64_t expected_tokens) {
  if (model.levels() == 0) {
    return std::make_unique<FlatSegmentScorer>(context, static_cast<const VanillaModel&>(model), sequences,
                                               expected_tokens);
  }
  return std::make_unique<PhotonSegmentScorer>(context, static_cast<const PhotonModel&>(model), mode, sequences,
                                               expected_tokens);
}

}  // namespace photon
