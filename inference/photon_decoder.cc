#include "inference/photon_decoder.h"

#include <algorithm>

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

int64_t Longest(absl::Span<KvCache* const> caches) {
  int64_t length = 0;
  for (const KvCache* cache : caches) length = std::max(length, cache->length());
  return length;
}

}  // namespace

PhotonDecoder::PhotonDecoder(const Context& context, const PhotonModel& model) : context_(context), model_(model) {
  for (int l = 0; l <= model.levels(); ++l) tokens_per_unit_.push_back(ChunkProduct(model.config(), l));
}

bool PhotonDecoder::grouped(int l) const {
  return l < model_.levels() && model_.config().encoder_scope() == ModelConfig::GROUP;
}

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
    if (l >= 2) state.pending[l - 1] = context_.Empty({model_.level(l).chunk, d}, model_.master_type());
  }
  state.top = copy_of_start(top);
  return state;
}

void PhotonDecoder::Prefill(DecodingState& state, absl::Span<const int32_t> prompt) const {
  PHOTON_CHECK_EQ(state.tokens, 0);
  // With shift ALL a source below the top is the output of the window above for the unit *before*, which can lie in the
  // meta-context before; its own source again one further back, and so on for L - 1 levels. Decoding that many whole
  // meta-contexts makes every `shifted` right; what it starts from has no influence any more by then.
  const int64_t decoded = model_.config().shift() == ModelConfig::ALL ? model_.levels() - 1 : 0;
  const int64_t whole = static_cast<int64_t>(prompt.size()) / meta_context();
  const int64_t bulk = std::max<int64_t>(whole - decoded, 0) * meta_context();
  DecodingState* const states[] = {&state};
  const int64_t slice = (kPrefillTokens + meta_context() - 1) / meta_context() * meta_context();
  for (int64_t begin = 0; begin < bulk; begin += slice) {
    EncodeMetaContexts(states, prompt.subspan(begin, std::min(slice, bulk - begin)));
  }

  absl::Span<const int32_t> rest = prompt.subspan(bulk);
  const int64_t chunk = model_.level(1).chunk;
  for (size_t i = 0; i < rest.size(); ++i) {
    const bool whole_chunk = static_cast<int64_t>(rest.size() - i) >= chunk;
    // The level-1 window only matters to a chunk that the prompt leaves unfinished.
    if (!state.chunk.empty() || !whole_chunk) {
      NextOutputs(1, states);
      Accept(states, rest.subspan(i, 1));
      continue;
    }
    NextSources(1, states);
    for (int64_t j = 0; j < chunk; ++j) Accept(states, rest.subspan(i + j, 1));
    i += chunk - 1;
  }
}

Tensor PhotonDecoder::NextLogits(States states) const {
  Tape tape(context_, Tape::Mode::kEvaluate);
  return model_.Head(tape, Var(NextOutputs(1, states))).value;
}

Tensor PhotonDecoder::TopSources(States states) const {
  std::vector<Tensor> rows;
  for (const DecodingState* state : states) rows.push_back(state->top);
  return JoinRows(context_, rows);
}

void PhotonDecoder::SetTops(States states, const Tensor& x) const {
  for (size_t i = 0; i < states.size(); ++i) ops::Cast(context_, x.Rows(i, i + 1), states[i]->top);
}

// S^l of each sequence's next level-l unit, [n, D].
Tensor PhotonDecoder::NextSources(int l, States states) const {
  if (l == model_.levels()) return TopSources(states);
  const Tensor outputs = NextOutputs(l + 1, states);
  if (!model_.shifts(l)) return outputs;
  std::vector<Tensor> before;
  for (size_t i = 0; i < states.size(); ++i) {
    before.push_back(states[i]->shifted[l - 1]);
    const Tensor own = context_.Empty(before.back().shape(), outputs.dtype());
    ops::Cast(context_, outputs.Rows(i, i + 1), own);
    states[i]->shifted[l - 1] = own;
  }
  return JoinRows(context_, before);
}

// The output of each sequence's level-l window at its next slot: Xh^(l-1) of the next level-(l-1) unit, [n, D].
Tensor PhotonDecoder::NextOutputs(int l, States states) const {
  std::vector<DecodingState*> fresh, running;
  std::vector<int32_t> from;  // per sequence its row among the fresh, or -1 - row among the running
  for (DecodingState* state : states) {
    const bool first = slot(*state, l) == 0;
    from.push_back(static_cast<int32_t>(first ? fresh.size() : -1 - static_cast<int64_t>(running.size())));
    (first ? fresh : running).push_back(state);
  }
  Tensor begun, stepped;
  if (!fresh.empty()) {
    begun = BeginWindows(context_, model_, l, NextSources(l, fresh), WindowCaches(l, fresh));
  }
  if (!running.empty()) {
    stepped = StepWindows(context_, model_, l, Contents(l, running), WindowCaches(l, running));
  }
  Tensor outputs = begun.defined() ? begun : stepped;
  if (begun.defined() && stepped.defined()) {
    outputs = context_.Empty({static_cast<int64_t>(states.size()), begun.dim(1)}, begun.dtype());
    ops::SelectRows(context_, begun, stepped, UploadIds(context_, from), outputs);
  }
  if (l >= 2 && model_.config().contents() == ModelConfig::RECONSTRUCTED) {
    for (size_t i = 0; i < states.size(); ++i) states[i]->fed_back[l - 1] = outputs.Rows(i, i + 1);
  }
  return outputs;
}

// What level-l windows past their first slot are fed next, [n, D].
Tensor PhotonDecoder::Contents(int l, States states) const {
  Tape tape(context_, Tape::Mode::kEvaluate);
  if (l == 1) {
    std::vector<int32_t> ids;
    for (const DecodingState* state : states) ids.push_back(state->chunk.back());
    return model_.EmbedTokens(tape, UploadIds(context_, ids)).value;
  }
  const bool encoded = model_.config().contents() == ModelConfig::ENCODED;
  std::vector<Tensor> rows;
  for (const DecodingState* state : states) {
    const int64_t j = slot(*state, l);
    rows.push_back(encoded ? state->pending[l - 1].Rows(j - 1, j) : state->fed_back[l - 1]);
  }
  return JoinRows(context_, rows);
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
  Tape tape(context_, Tape::Mode::kEvaluate);
  std::vector<int32_t> ids;
  for (DecodingState* state : states) {
    ids.insert(ids.end(), state->chunk.begin(), state->chunk.end());
    state->chunk.clear();
  }
  std::vector<DecodingState*> complete(states.begin(), states.end());
  Var parts = model_.EmbedForEncoder(tape, UploadIds(context_, ids));
  for (int l = 1;; ++l) {
    const Tensor x = StepEncoder(l, model_.level(l).chunker.Forward(tape, parts).value, complete);
    if (l == model_.levels()) return SetTops(complete, x);
    std::vector<DecodingState*> above;
    std::vector<Tensor> inputs;
    const int64_t chunk = model_.level(l + 1).chunk;
    for (size_t i = 0; i < complete.size(); ++i) {
      DecodingState* state = complete[i];
      const int64_t next = slot(*state, l + 1), row = (next + chunk - 1) % chunk;
      ops::Cast(context_, x.Rows(i, i + 1), state->pending[l].Rows(row, row + 1));
      if (next != 0) continue;
      above.push_back(state);
      inputs.push_back(state->pending[l]);
    }
    if (above.empty()) return;
    complete = above;
    parts = Var(JoinRows(context_, inputs));
  }
}

Tensor PhotonDecoder::StepEncoder(int l, const Tensor& chunks, States states) const {
  if (grouped(l)) {
    // Cleared when the next group begins, not when its own ends.
    for (KvCache* cache : EncoderCaches(l, states)) {
      if (cache->length() == model_.level(l + 1).chunk) cache->Clear();
    }
  }
  return EncodeOn(l, chunks, states);
}

// New positions behind what the caches of encoder l hold, the same number for each sequence.
Tensor PhotonDecoder::EncodeOn(int l, const Tensor& chunks, States states) const {
  const std::vector<KvCache*> caches = EncoderCaches(l, states);
  const int64_t added = chunks.dim(0) / static_cast<int64_t>(states.size());
  return model_.level(l).encoder.Extend(context_, chunks, caches, model_.RopeTable(context_, Longest(caches) + added));
}

// Whole groups of encoder l side by side. Nobody will look back into them: no cache.
Tensor PhotonDecoder::EncodeGroups(int l, const Tensor& chunks, States states) const {
  for (KvCache* cache : EncoderCaches(l, states)) cache->Clear();
  const int64_t group = model_.level(l + 1).chunk;
  const AttentionPlan plan = model_.plans().Causal(context_, chunks.dim(0) / group, group);
  Tape tape(context_, Tape::Mode::kEvaluate);
  const Tensor rope = model_.RopeTable(context_, plan.shape.length);
  return model_.level(l).encoder.Forward(tape, Var(chunks), plan, rope, /*recompute=*/false).value;
}

std::vector<Tensor> PhotonDecoder::EncodeMetaContexts(States states, absl::Span<const int32_t> tokens) const {
  const int64_t each = static_cast<int64_t>(tokens.size() / states.size());
  PHOTON_CHECK(each > 0 && each % meta_context() == 0) << each << " tokens";
  Tape tape(context_, Tape::Mode::kEvaluate);
  Var below = model_.EmbedForEncoder(tape, UploadIds(context_, tokens));
  std::vector<Tensor> encoded;
  for (int l = 1; l <= model_.levels(); ++l) {
    const Tensor chunks = model_.level(l).chunker.Forward(tape, below).value;
    encoded.push_back(grouped(l) ? EncodeGroups(l, chunks, states) : EncodeOn(l, chunks, states));
    below = Var(encoded.back());
  }
  std::vector<int32_t> last;
  for (size_t i = 0; i < states.size(); ++i) {
    PHOTON_CHECK(states[i]->chunk.empty() && states[i]->tokens % meta_context() == 0);
    states[i]->tokens += each;
    last.push_back(static_cast<int32_t>((i + 1) * each / meta_context() - 1));
  }
  SetTops(states, PickRows(context_, encoded.back(), last));
  return encoded;
}

}  // namespace photon
