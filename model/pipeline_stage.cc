#include "model/pipeline_stage.h"

#include <utility>

#include "configs/model_config.h"
#include "core/ops/elementwise.h"

namespace photon {
namespace {

using pipeline::Edge;

// The stream between items as one value.
Var Settled(Tape& tape, const Stack::Stream& stream) {
  return stream.delta.value.defined() ? ops::Sum(tape, stream.x, stream.delta) : stream.x;
}

// Whether the item's stream is an X^l that a decoder reads besides.
bool IsEncoded(const LanguageModel& model, const ModelItem& item) {
  return item.kind == ModelItem::Kind::kEncoder && item.last && item.level < model.levels();
}

}  // namespace

void PipelineStage::BeginStep(std::vector<const ModelInput*> inputs, const Tensor& sums, GradientHooks hooks,
                              Tape::Mode mode) {
  inputs_ = std::move(inputs);
  sums_ = sums;
  hooks_ = std::move(hooks);
  mode_ = mode;
  passes_.clear();
}

Stage::Values PipelineStage::Forward(int microbatch, int segment, Values inputs, bool last) {
  const pipeline::Segment& s = layout_.segments()[segment];
  Pass pass;
  pass.tape = std::make_unique<Tape>(context_, mode_);
  Tape& tape = *pass.tape;
  if (mode_ == Tape::Mode::kRecord) {
    if ((last || hooks_.each_microbatch) && hooks_.complete) tape.on_gradient_complete(hooks_.complete);
    if (hooks_.needed) tape.on_gradient_needed(hooks_.needed);
  }

  LanguageModel::Passage passage = model_.Begin();
  const std::vector<int>& incoming = layout_.incoming(segment);
  for (size_t i = 0; i < incoming.size(); ++i) {
    const Edge& edge = layout_.edges()[incoming[i]];
    const Var value = tape.Output(inputs[i][0], layout_.Differentiated(incoming[i], segment));
    const ModelItem& item = model_.items()[edge.item];
    if (edge.item == s.begin - 1) passage.stream = {value, Var()};
    if (IsEncoded(model_, item)) passage.encoded[item.level] = {value, Var()};
    pass.inputs.push_back(value);
  }

  const std::vector<int>& outgoing = layout_.outgoing(segment);
  pass.outputs.resize(outgoing.size());
  const auto keep = [&](int item, const LanguageModel::Passage& now) {
    for (size_t i = 0; i < outgoing.size(); ++i) {
      if (layout_.edges()[outgoing[i]].item == item) pass.outputs[i] = Settled(tape, now.stream);
    }
  };
  const ModelInput& input = *inputs_[microbatch];
  AddLoss(context_, input,
          ComputeLossOfItems(model_, tape, input, objective_, options_, s.begin, s.end, &passage, keep), sums_);
  Values values;
  for (const Var& output : pass.outputs) values.push_back({output.value});
  if (mode_ == Tape::Mode::kRecord) passes_[{microbatch, segment}] = std::move(pass);
  return values;
}

Stage::Values PipelineStage::Backward(int microbatch, int segment, Values output_gradients, bool split_weights) {
  Pass& pass = passes_.at({microbatch, segment});
  for (size_t i = 0; i < pass.outputs.size(); ++i) {
    const std::vector<Tensor>& arrived = output_gradients[i];
    if (arrived.empty() || !arrived[0].defined() || !pass.outputs[i].needs_gradient()) continue;
    pass.outputs[i].slot->Accumulate(context_, arrived[0]);
  }
  split_weights ? pass.tape->BackwardInputs() : pass.tape->Backward();
  Values gradients;
  for (const Var& input : pass.inputs) gradients.push_back({input.needs_gradient() ? input.slot->Take() : Tensor()});
  if (!split_weights) passes_.erase({microbatch, segment});
  return gradients;
}

void PipelineStage::WeightGradients(int microbatch, int segment) {
  passes_.at({microbatch, segment}).tape->BackwardWeights();
  passes_.erase({microbatch, segment});
}

pipeline::EdgeForms FormsOf(const LanguageModel& model, const ModelInput& input, const pipeline::Layout& layout) {
  const ModelConfig& config = model.config();
  const ModelLayout& ranks = model.layout();
  const int64_t tokens = input.sequences() * input.length();
  // Rows of level-l units (l = 0: tokens) in a share.
  const auto units = [&](int l, Share share) { return tokens / ChunkProduct(config, l) / ranks.span(share).count; };
  const auto split = [](const StackLayout& stack) { return stack.tensor == nullptr ? 1 : stack.tensor->size(); };
  const auto rows = [&](const ModelItem& item) -> int64_t {
    const int l = item.level;
    if (item.kind == ModelItem::Kind::kEncoder) {
      const int level = model.levels() == 0 ? 0 : l;
      if (!item.last) {
        const int64_t all = ranks.everywhere(l) ? tokens / ChunkProduct(config, level) : units(level, ranks.encoder(l));
        return all / split(ranks.EncoderStack(l));
      }
      // The top encoder's is shifted already, and in its decoder's share.
      return units(level, level > 0 && level == model.levels() ? ranks.decoder(l) : ranks.encoder(l));
    }
    const LevelConfig& c = config.levels(l - 1);
    if (!item.last) return units(l, ranks.decoder(l)) * (c.prefix() + c.chunk() - 1) / split(ranks.DecoderStack(l));
    return units(l - 1, ranks.decoder(std::max(l - 1, 1)));
  };
  pipeline::EdgeForms forms;
  for (const Edge& edge : layout.edges()) {
    forms.push_back({{.shape = {rows(model.items()[edge.item]), config.width()}, .dtype = model.master_type()}});
  }
  return forms;
}

}  // namespace photon
