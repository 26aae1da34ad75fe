#include "inference/photon_decoder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/ops/elementwise.h"
#include "core/ops/rows.h"
#include "inference/rows.h"
#include "inference/window.h"

namespace photon {
namespace {

std::vector<KvCache*> EncoderCaches(int l, States states) {
  std::vector<KvCache*> caches;
  for (DecodingState* state : states) {
    PHOTON_CHECK(state->encoders[l - 1].has_value()) << "encoder " << l << " has been dropped";
    caches.push_back(&*state->encoders[l - 1]);
  }
  return caches;
}

std::vector<KvCache*> WindowCaches(int l, States states) {
  std::vector<KvCache*> caches;
  for (DecodingState* state : states) caches.push_back(&state->windows[l - 1]);
  return caches;
}

std::vector<Tensor> Tops(States states) {
  std::vector<Tensor> rows;
  for (const DecodingState* state : states) rows.push_back(state->top);
  return rows;
}

std::vector<Tensor> Shifted(int l, States states) {
  std::vector<Tensor> rows;
  for (const DecodingState* state : states) rows.push_back(state->shifted[l - 1]);
  return rows;
}

std::vector<Tensor> FedBack(int l, States states) {
  std::vector<Tensor> rows;
  for (const DecodingState* state : states) rows.push_back(state->fed_back[l - 1]);
  return rows;
}

}  // namespace

PhotonDecoder::PhotonDecoder(const Context& context, const PhotonModel& model, OpenedDevice* device)
    : Decoder(context, device), model_(model) {
  for (int l = 0; l <= model.levels(); ++l) tokens_per_unit_.push_back(ChunkProduct(model.config(), l));
}

bool PhotonDecoder::grouped(int l) const {
  return l < model_.levels() && model_.config().encoder_scope() == ModelConfig::GROUP;
}

bool PhotonDecoder::feeds_back() const { return model_.config().contents() == ModelConfig::RECONSTRUCTED; }

int64_t PhotonDecoder::slot(const DecodingState& state, int l) const {
  return state.tokens / tokens_per_unit_[l - 1] % model_.level(l).chunk;
}

DecodingState PhotonDecoder::NewState(int64_t expected_tokens) const {
  const int top = model_.levels();
  const int64_t d = model_.config().width();
  DecodingState state;
  state.pending.resize(top);
  state.shifted.resize(top);
  state.fed_back.resize(top);
  const auto copy_of_start = [&](int l) {
    const Tensor copy = context_.Empty({1, d}, model_.master_type());
    ops::Cast(context_, model_.level(l).start->master.Reshape({1, d}), copy);
    return copy;
  };
  for (int l = 1; l <= top; ++l) {
    const int64_t units = grouped(l) ? model_.level(l + 1).chunk : expected_tokens / tokens_per_unit_[l];
    state.encoders.push_back(model_.level(l).encoder.NewCache(context_, units));
    state.windows.push_back(NewWindow(context_, model_, l));
    if (l < top && model_.shifts(l)) state.shifted[l - 1] = copy_of_start(l);
    if (l >= 2) {
      state.pending[l - 1] = context_.Empty({model_.level(l).chunk, d}, model_.master_type());
      if (feeds_back()) state.fed_back[l - 1] = context_.Empty({1, d}, model_.master_type());
    }
  }
  state.top = copy_of_start(top);
  return state;
}

// With shift ALL a source below the top is the output of the window above for the unit *before*, which can lie in the
// meta-context before; its own source again one further back, and so on for L - 1 levels. Decoding that many whole
// meta-contexts makes every `shifted` right; what it starts from has no influence any more by then.
int64_t PhotonDecoder::UnitTokens(int64_t prompt) const {
  const int64_t decoded = model_.config().shift() == ModelConfig::ALL ? model_.levels() - 1 : 0;
  return std::max<int64_t>(prompt / meta_context() - decoded, 0) * meta_context();
}

Tensor PhotonDecoder::ReadUnits(States states, absl::Span<const int32_t> tokens) const {
  Step step(context_);
  const Step::Value top = EncodeMetaContexts(step, states, tokens).back();
  return RunOnce(context_, step)[top];
}

void PhotonDecoder::ReadRest(States states, absl::Span<const absl::Span<const int32_t>> rests) const {
  std::vector<absl::Span<const int32_t>> left(rests.begin(), rests.end());
  // The sequences that have so many tokens left, moved on by these: `begin` is given them before.
  const auto accept = [&](size_t count, auto&& begin) {
    std::vector<DecodingState*> going;
    std::vector<absl::Span<const int32_t>> tokens;
    for (size_t i = 0; i < states.size(); ++i) {
      if (left[i].size() < count) continue;
      going.push_back(states[i]);
      tokens.push_back(left[i].first(count));
      left[i].remove_prefix(count);
    }
    if (going.empty()) return false;
    Step step(context_);
    begin(step, going);
    RunOnce(context_, step);
    for (size_t j = 0; j < count; ++j) {
      std::vector<int32_t> column;
      for (const absl::Span<const int32_t> own : tokens) column.push_back(own[j]);
      Accept(going, column);
    }
    return true;
  };
  // The level-1 window only matters to a chunk that the prompt leaves unfinished.
  while (accept(model_.level(1).chunk, [&](Step& step, States going) { NextSources(step, 1, going); })) {
  }
  while (accept(1, [&](Step& step, States going) { NextOutputs(step, 1, going); })) {
  }
}

// What NewState makes is what a state at a boundary has beside its caches, but for the top.
DecodingState PhotonDecoder::CopyOfBeginning(const DecodingState& state, int64_t tokens, const Tensor& last) const {
  DecodingState copy = NewState(0);
  copy.tokens = tokens;
  for (int l = 1; l <= model_.levels(); ++l) {
    if (!grouped(l)) copy.encoders[l - 1] = state.encoders[l - 1]->Copy(tokens / tokens_per_unit_[l]);
  }
  ops::Cast(context_, last, copy.top);
  return copy;
}

Tensor PhotonDecoder::NextLogits(States states) const {
  Step step(context_);
  const Step::Value logits = Head(step, NextOutputs(step, 1, states));
  return steps().Run(std::move(step), logits);
}

Step::Value PhotonDecoder::Head(Step& step, Step::Value outputs) const {
  return step.Do("head", [this, outputs](const Step::Values& values) {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return model_.Head(tape, Var(values[outputs])).value;
  });
}

Step::Value PhotonDecoder::Embed(Step& step, absl::Span<const int32_t> ids) const {
  const Step::Value uploaded = step.Upload(ids);
  return step.Do("embed", [this, uploaded](const Step::Values& values) {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return model_.EmbedTokens(tape, values[uploaded]).value;
  });
}

Step::Value PhotonDecoder::EmbedForEncoder(Step& step, absl::Span<const int32_t> ids) const {
  const Step::Value uploaded = step.Upload(ids);
  return step.Do("embed for encoder", [this, uploaded](const Step::Values& values) {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return model_.EmbedForEncoder(tape, values[uploaded]).value;
  });
}

Step::Value PhotonDecoder::Chunk(Step& step, int l, Step::Value parts) const {
  return step.Do(absl::StrCat("chunk ", l), [this, l, parts](const Step::Values& values) {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return model_.level(l).chunker.Forward(tape, Var(values[parts])).value;
  });
}

Step::Value PhotonDecoder::TopSources(Step& step, States states) const { return step.Gather(Tops(states)); }

void PhotonDecoder::SetTops(Step& step, States states, Step::Value x) const { step.Scatter(x, Tops(states)); }

// S^l of each sequence's next level-l unit, [n, D].
Step::Value PhotonDecoder::NextSources(Step& step, int l, States states) const {
  if (l == model_.levels()) return TopSources(step, states);
  const Step::Value outputs = NextOutputs(step, l + 1, states);
  if (!model_.shifts(l)) return outputs;
  const std::vector<Tensor> rows = Shifted(l, states);
  const Step::Value before = step.Gather(rows);
  step.Scatter(outputs, rows);
  return before;
}

// The output of each sequence's level-l window at its next slot: Xh^(l-1) of the next level-(l-1) unit, [n, D].
Step::Value PhotonDecoder::NextOutputs(Step& step, int l, States states) const {
  std::vector<DecodingState*> fresh, running;
  std::vector<int32_t> from;  // per sequence its row among the fresh, or -1 - row among the running
  for (DecodingState* state : states) {
    const bool first = slot(*state, l) == 0;
    from.push_back(static_cast<int32_t>(first ? fresh.size() : -1 - static_cast<int64_t>(running.size())));
    (first ? fresh : running).push_back(state);
  }
  Step::Value begun, stepped;
  if (!fresh.empty()) {
    const Step::Value sources = NextSources(step, l, fresh);
    begun = BeginWindows(step, context_, model_, l, sources, WindowCaches(l, fresh));
  }
  if (!running.empty()) {
    const Step::Value contents = Contents(step, l, running);
    stepped = StepWindows(step, context_, model_, l, contents, WindowCaches(l, running));
  }
  Step::Value outputs = begun.defined() ? begun : stepped;
  if (begun.defined() && stepped.defined()) {
    const Step::Value rows = step.Upload(from);
    outputs = step.Do("merge", [this, begun, stepped, rows](const Step::Values& values) {
      const Tensor merged = context_.Empty({values[rows].dim(0), values[begun].dim(1)}, values[begun].dtype());
      ops::SelectRows(context_, values[begun], values[stepped], values[rows], merged);
      return merged;
    });
  }
  if (l >= 2 && feeds_back()) step.Scatter(outputs, FedBack(l, states));
  return outputs;
}

// What level-l windows past their first slot are fed next, [n, D].
Step::Value PhotonDecoder::Contents(Step& step, int l, States states) const {
  if (l == 1) {
    std::vector<int32_t> ids;
    for (const DecodingState* state : states) ids.push_back(state->chunk.back());
    return Embed(step, ids);
  }
  if (feeds_back()) return step.Gather(FedBack(l, states));
  std::vector<Tensor> rows;
  for (const DecodingState* state : states) {
    const int64_t j = slot(*state, l);
    rows.push_back(state->pending[l - 1].Rows(j - 1, j));
  }
  return step.Gather(rows);
}

void PhotonDecoder::Accept(States states, absl::Span<const int32_t> tokens) const {
  PHOTON_CHECK_EQ(states.size(), tokens.size());
  std::vector<DecodingState*> complete;
  for (size_t i = 0; i < states.size(); ++i) {
    DecodingState* state = states[i];
    state->chunk.push_back(tokens[i]);
    ++state->tokens;
    if (slot(*state, 1) == 0) complete.push_back(state);
  }
  if (!complete.empty()) CompleteChunks(complete);
}

// Level-1 units are complete: encodes them, and every unit above that they complete.
void PhotonDecoder::CompleteChunks(States states) const {
  std::vector<int32_t> ids;
  for (DecodingState* state : states) {
    ids.insert(ids.end(), state->chunk.begin(), state->chunk.end());
    state->chunk.clear();
  }
  Step step(context_);
  std::vector<DecodingState*> complete(states.begin(), states.end());
  Step::Value parts = EmbedForEncoder(step, ids);
  for (int l = 1; !complete.empty(); ++l) {
    const Step::Value x = StepEncoder(step, l, Chunk(step, l, parts), complete);
    if (l == model_.levels()) {
      SetTops(step, complete, x);
      break;
    }
    std::vector<DecodingState*> above;
    std::vector<Tensor> written, inputs;
    const int64_t chunk = model_.level(l + 1).chunk;
    for (DecodingState* state : complete) {
      const Tensor& pending = state->pending[l];
      const int64_t next = slot(*state, l + 1), row = (next + chunk - 1) % chunk;
      written.push_back(pending.Rows(row, row + 1));
      if (next != 0) continue;
      above.push_back(state);
      for (int64_t j = 0; j < chunk; ++j) inputs.push_back(pending.Rows(j, j + 1));
    }
    step.Scatter(x, written);
    if (!above.empty()) parts = step.Gather(inputs);
    complete = above;
  }
  steps().Run(std::move(step), {});
}

Step::Value PhotonDecoder::StepEncoder(Step& step, int l, Step::Value chunks, States states) const {
  if (grouped(l)) {
    // Cleared when the next group begins, not when its own ends.
    for (KvCache* cache : EncoderCaches(l, states)) {
      if (cache->length() == model_.level(l + 1).chunk) cache->Clear();
    }
  }
  return EncodeOn(step, l, chunks, /*added=*/1, states);
}

// `added` new positions behind what the caches of encoder l hold, for each sequence.
Step::Value PhotonDecoder::EncodeOn(Step& step, int l, Step::Value chunks, int64_t added, States states) const {
  const Step::Caches caches = step.Append(EncoderCaches(l, states), added);
  const Tensor rope = model_.RopeTable(context_, caches.longest);
  return step.Do(absl::StrCat("encode ", l), [this, l, chunks, caches, rope](const Step::Values& values) {
    return model_.level(l).encoder.Extend(context_, values[chunks], caches.Table(values), rope);
  });
}

// Whole groups of encoder l side by side. Nobody will look back into them: no cache.
Step::Value PhotonDecoder::EncodeGroups(Step& step, int l, Step::Value chunks, int64_t added, States states) const {
  for (KvCache* cache : EncoderCaches(l, states)) cache->Clear();
  const int64_t length = model_.level(l + 1).chunk;
  const AttentionPlan plan =
      model_.plans().Causal(context_, static_cast<int64_t>(states.size()) * added / length, length);
  const Tensor rope = model_.RopeTable(context_, plan.shape.length);
  return step.Do(absl::StrCat("encode groups ", l), [this, l, chunks, plan, rope](const Step::Values& values) {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return model_.level(l).encoder.Forward(tape, Var(values[chunks]), plan, rope, /*recompute=*/false).value;
  });
}

std::vector<Step::Value> PhotonDecoder::EncodeMetaContexts(Step& step, States states,
                                                           absl::Span<const int32_t> tokens) const {
  const int64_t each = static_cast<int64_t>(tokens.size() / states.size());
  PHOTON_CHECK(each > 0 && each % meta_context() == 0) << each << " tokens";
  std::vector<Step::Value> encoded;
  Step::Value below = EmbedForEncoder(step, tokens);
  for (int l = 1; l <= model_.levels(); ++l) {
    const Step::Value chunks = Chunk(step, l, below);
    const int64_t added = each / tokens_per_unit_[l];
    encoded.push_back(grouped(l) ? EncodeGroups(step, l, chunks, added, states)
                                 : EncodeOn(step, l, chunks, added, states));
    below = encoded.back();
  }
  std::vector<int32_t> last;
  for (size_t i = 0; i < states.size(); ++i) {
    PHOTON_CHECK(states[i]->chunk.empty() && states[i]->tokens % meta_context() == 0);
    states[i]->tokens += each;
    last.push_back(static_cast<int32_t>((i + 1) * each / meta_context() - 1));
  }
  SetTops(step, states, PickRows(step, context_, encoded.back(), last));
  return encoded;
}

}  // namespace photon
