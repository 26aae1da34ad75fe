#include "inference/meta_context_decoder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/ops/elementwise.h"
#include "inference/window.h"

namespace photon {

void MetaContextDecoder::TakeOver(States states) const {
  for (DecodingState* state : states) {
    PHOTON_CHECK_EQ(state->tokens % decoder_.meta_context(), 0);
    state->windows.clear();
    if (feedback_ == Feedback::kTokens) continue;
    for (int l = 1; l < decoder_.model().levels(); ++l) state->encoders[l - 1].reset();
  }
}

std::vector<KvCache*> MetaContextDecoder::EmptyWindows(int l, int64_t count) {
  std::vector<std::unique_ptr<KvCache>>& windows = windows_[l - 1];
  while (static_cast<int64_t>(windows.size()) < count) {
    windows.push_back(std::make_unique<KvCache>(NewWindow(context_, decoder_.model(), l)));
  }
  for (std::unique_ptr<KvCache>& window : windows) window->Clear();
  std::vector<KvCache*> caches;
  for (int64_t i = 0; i < count; ++i) caches.push_back(windows[i].get());
  return caches;
}

int64_t MetaContextDecoder::window_bytes() const {
  int64_t bytes = 0;
  for (const auto& level : windows_) {
    for (const auto& window : level) bytes += window->bytes();
  }
  return bytes;
}

int64_t MetaContextDecoder::allocated_window_bytes() const {
  int64_t bytes = 0;
  for (const auto& level : windows_) {
    for (const auto& window : level) bytes += window->allocated_bytes();
  }
  return bytes;
}

void MetaContextDecoder::ShrinkTo(int64_t sequences) {
  int64_t units = sequences;  // of level l
  for (int l = decoder_.model().levels(); l >= 1; --l) {
    std::vector<std::unique_ptr<KvCache>>& windows = windows_[l - 1];
    if (static_cast<int64_t>(windows.size()) > units) windows.resize(units);
    units *= decoder_.model().level(l).chunk;
  }
}

// Decoder l on its own outputs, a window per row of `sources` [units, D]: Xh^(l-1), [units C_l, D].
Step::Value MetaContextDecoder::RollOut(Step& step, int l, Step::Value sources, int64_t units) {
  const PhotonModel& model = decoder_.model();
  const std::vector<KvCache*> windows = EmptyWindows(l, units);
  std::vector<Step::Value> slots = {BeginWindows(step, context_, model, l, sources, windows)};
  while (static_cast<int64_t>(slots.size()) < model.level(l).chunk) {
    slots.push_back(StepWindows(step, context_, model, l, slots.back(), windows));
  }
  return step.Do(absl::StrCat("interleave ", l), [this, units, slots](const Step::Values& values) {
    const Tensor& first = values[slots[0]];
    const int64_t chunk = static_cast<int64_t>(slots.size()), d = first.dim(1);
    const Tensor outputs = context_.Empty({units, chunk * d}, first.dtype());
    for (int64_t j = 0; j < chunk; ++j) ops::Cast(context_, values[slots[j]], outputs.Columns(j * d, (j + 1) * d));
    return outputs.Reshape({units * chunk, d});
  });
}

// All level-1 chunks side by side, a token of each at a time. `first` is planned up to the `sources`.
std::vector<int32_t> MetaContextDecoder::DecodeChunks(Step first, Step::Value sources, int64_t sequences,
                                                      const Choose& choose) {
  const PhotonModel& model = decoder_.model();
  const int64_t chunk = model.level(1).chunk, units_each = decoder_.meta_context() / chunk;
  const int64_t units = sequences * units_each;
  const std::vector<KvCache*> windows = EmptyWindows(1, units);
  std::vector<int32_t> tokens(units * chunk), chosen;
  for (int64_t j = 0; j < chunk; ++j) {
    Step step = j == 0 ? std::move(first) : Step(context_);
    const Step::Value hidden = j == 0 ? BeginWindows(step, context_, model, 1, sources, windows)
                                      : StepWindows(step, context_, model, 1, decoder_.Embed(step, chosen), windows);
    const Step::Value logits = decoder_.Head(step, hidden);
    std::vector<Place> places;
    for (int64_t u = 0; u < units; ++u) places.push_back({u / units_each, u % units_each * chunk + j});
    chosen = choose(decoder_.steps().Run(std::move(step), logits), places);
    PHOTON_CHECK_EQ(static_cast<int64_t>(chosen.size()), units);
    for (int64_t u = 0; u < units; ++u) tokens[u * chunk + j] = chosen[u];
  }
  return tokens;
}

// All decoders above the tokens: S^1 of the next meta-context's level-1 units. `reconstructed`: Xh^(L-1), [states *
// C_L, D].
Step::Value MetaContextDecoder::RollDown(Step& step, States states, Step::Value* reconstructed) {
  Step::Value sources = decoder_.TopSources(step, states);
  int64_t units = static_cast<int64_t>(states.size());
  for (int l = decoder_.model().levels(); l >= 2; --l) {
    sources = RollOut(step, l, sources, units);
    units *= decoder_.model().level(l).chunk;
    if (l == decoder_.model().levels()) *reconstructed = sources;
  }
  return sources;
}

Step::Value MetaContextDecoder::PlanAdvance(Step& step, States states) {
  PHOTON_CHECK(feedback_ == Feedback::kReconstruction);
  const int top = decoder_.model().levels();
  Step::Value reconstructed;
  const Step::Value sources = RollDown(step, states, &reconstructed);
  const Step::Value chunks = decoder_.Chunk(step, top, reconstructed);
  decoder_.SetTops(step, states, decoder_.StepEncoder(step, top, chunks, states));
  for (DecodingState* state : states) state->tokens += decoder_.meta_context();
  return sources;
}

Tensor MetaContextDecoder::Advance(States states) {
  Step step(context_);
  const Step::Value sources = PlanAdvance(step, states);
  return RunOnce(context_, step)[sources];
}

std::vector<int32_t> MetaContextDecoder::Decode(States states, const Choose& choose) {
  const int64_t sequences = static_cast<int64_t>(states.size());
  Step step(context_);
  if (feedback_ == Feedback::kReconstruction) {
    const Step::Value sources = PlanAdvance(step, states);
    return DecodeChunks(std::move(step), sources, sequences, choose);
  }
  Step::Value reconstructed;
  const Step::Value sources = RollDown(step, states, &reconstructed);
  const std::vector<int32_t> tokens = DecodeChunks(std::move(step), sources, sequences, choose);
  Step encode(context_);
  decoder_.EncodeMetaContexts(encode, states, tokens);
  decoder_.steps().Run(std::move(encode), {});
  return tokens;
}

}  // namespace photon
