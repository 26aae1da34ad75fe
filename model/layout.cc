#include "model/layout.h"

#include "core/ops/rows.h"
#include "parallel/tape_collectives.h"

namespace photon {

ModelLayout::ModelLayout() : self_(SelfCommunicator()), tp_(self_.get()), cp_(self_.get()), sequence_(self_.get()) {}

ModelLayout::ModelLayout(const ModelConfig& model, const ParallelConfig& config, const Mesh& mesh)
    : scope_(model.encoder_scope()),
      levels_(model.levels_size()),
      items_(ItemsOf(model)),
      config_(config),
      tp_(&mesh.axis(MeshAxis::kTp)),
      cp_(&mesh.axis(MeshAxis::kCp)),
      sequence_(&mesh.group({MeshAxis::kCp, MeshAxis::kTp})) {}

void ModelLayout::SetStages(std::vector<int> stages, int own_stage) {
  PHOTON_CHECK_EQ(stages.size(), items_.size());
  stages_ = std::move(stages);
  own_stage_ = own_stage;
}

int ModelLayout::StageOf(ModelItem::Kind kind, int level, int layer) const {
  for (size_t i = 0; i < stages_.size(); ++i) {
    const ModelItem& item = items_[i];
    if (item.kind != kind) continue;
    if (kind == ModelItem::Kind::kHead || (item.level == level && item.begin <= layer && layer < item.end))
      return stages_[i];
  }
  return -1;
}

bool ModelLayout::Here(ModelItem::Kind kind, int level, int layer) const {
  const int stage = StageOf(kind, level, layer);
  return stage < 0 || stage == own_stage_;
}

Placement ModelLayout::In(Placement placement, ModelItem::Kind kind, int level, int layer) const {
  placement.stage = StageOf(kind, level, layer);
  if (!stages_.empty() && placement.stage < 0) placement.summed = placement.summed | AxisSet{MeshAxis::kPp};
  return placement;
}

StackLayout ModelLayout::Staged(StackLayout layout, ModelItem::Kind kind, int level) const {
  if (stages_.empty()) return layout;
  layout.own_stage = own_stage_;
  for (const ModelItem& item : items_) {
    for (int i = item.begin; item.kind == kind && item.level == level && i < item.end; ++i)
      layout.stages.push_back(StageOf(kind, level, i));
  }
  layout.replicated.summed = In(layout.replicated, kind, level, 0).summed;
  return layout;
}

Share ModelLayout::encoder(int l) const {
  return tp().size() > 1 && level(l).encoder() == EncoderLayout::SEQUENCE ? Share::kSplit : Share::kWhole;
}

Share ModelLayout::decoder(int l) const {
  return tp().size() > 1 && level(l).decoder() == DecoderLayout::CHUNK ? Share::kSplit : Share::kWhole;
}

bool ModelLayout::everywhere(int l) const {
  return cp_->size() > 1 && !grouped(l) && level(l).spans() == SpanLayout::REPLICATED;
}

Placement ModelLayout::ReplicatedIn(Share share) const {
  Placement placement;
  if (share == Share::kSplit) placement.summed = placement.summed | AxisSet{MeshAxis::kTp};
  return placement;
}

Placement ModelLayout::Vocabulary(Share share) const {
  if (!splits_vocabulary()) return ReplicatedIn(share);
  Placement placement;
  placement.splits.push_back({0, MeshAxis::kTp});
  return placement;
}

StackLayout ModelLayout::EncoderStack(int l) const {
  const Share share = encoder(l);
  StackLayout layout;
  if (tp().size() > 1 && level(l).encoder() == EncoderLayout::TENSOR) layout.tensor = tp_;
  if (spans(share).size() > 1 && !grouped(l) && !everywhere(l)) layout.spans = &spans(share);
  layout.span_kind = level(l).spans();
  layout.replicated = ReplicatedIn(layout.tensor != nullptr ? Share::kSplit : share);
  return Staged(layout, ModelItem::Kind::kEncoder, l);
}

StackLayout ModelLayout::DecoderStack(int l) const {
  StackLayout layout;
  if (tp().size() > 1 && level(l).decoder() == DecoderLayout::TENSOR) layout.tensor = tp_;
  layout.replicated = ReplicatedIn(layout.tensor != nullptr ? Share::kSplit : decoder(l));
  return Staged(layout, ModelItem::Kind::kDecoder, l);
}

Var ModelLayout::Convert(Tape& tape, const PlanCache& plans, absl::string_view what, const Var& x, int64_t sequences,
                         Share from, Share to) const {
  if (from == to) return x;
  const Context& context = tape.context();
  const int64_t ranks = tp().size();
  if (from == Share::kSplit) {
    const int64_t positions = x.value.dim(0) / sequences;
    const Var gathered = AllGatherRows(tape, tp(), what, x, Then::kSame);
    if (sequences == 1) return gathered;
    return ops::SelectRows(tape, gathered, Var(), plans.BySequence(context, sequences, ranks, positions));
  }
  const int64_t positions = x.value.dim(0) / sequences / ranks;
  const Var by_span =
      sequences == 1 ? x : ops::SelectRows(tape, x, Var(), plans.BySpan(context, sequences, ranks, positions));
  return TakeRows(tape, tp(), what, by_span);
}

}  // namespace photon
