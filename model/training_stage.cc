#include "model/training_stage.h"

#include <utility>

#include "core/ops/elementwise.h"

namespace photon {
namespace {

using pipeline::Edge;

// All items in one segment of one rank.
pipeline::Layout Whole(const LanguageModel& model) {
  const auto items = static_cast<int>(model.items().size());
  absl::StatusOr<pipeline::Layout> layout = pipeline::Layout::Create({.items = std::vector<pipeline::Item>(items)},
                                                                     pipeline::Form::kPlain, /*ranks=*/1, {0, items});
  PHOTON_CHECK(layout.ok()) << layout.status();
  return *std::move(layout);
}

// The stream between items as one value.
Var Settled(Tape& tape, const Stack::Stream& stream) {
  return stream.delta.value.defined() ? ops::Sum(tape, stream.x, stream.delta) : stream.x;
}

// Whether the item's stream is an X^l that a decoder reads besides.
bool IsEncoded(const LanguageModel& model, const ModelItem& item) {
  return item.kind == ModelItem::Kind::kEncoder && item.last && item.level < model.levels();
}

}  // namespace

TrainingStage::TrainingStage(const LanguageModel& model, const Context& context, const ObjectiveConfig& objective,
                             const ForwardOptions& options, const pipeline::Layout* layout)
    : model_(model),
      context_(context),
      objective_(objective),
      options_(options),
      layout_(layout != nullptr ? *layout : Whole(model)) {}

void TrainingStage::BeginStep(std::vector<const ModelInput*> inputs, const Tensor& sums, GradientHooks hooks,
                              Tape::Mode mode) {
  inputs_ = std::move(inputs);
  sums_ = sums;
  hooks_ = std::move(hooks);
  mode_ = mode;
  passes_.clear();
}

Stage::Values TrainingStage::Forward(int microbatch, int segment, Values inputs, bool last) {
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

Stage::Values TrainingStage::Backward(int microbatch, int segment, Values output_gradients, bool split_weights) {
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

void TrainingStage::WeightGradients(int microbatch, int segment) {
  passes_.at({microbatch, segment}).tape->BackwardWeights();
  passes_.erase({microbatch, segment});
}

}  // namespace photon
