#include "inference/meta_context_decoder.h"

#include "core/ops/elementwise.h"
#include "inference/rows.h"
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

// Decoder l on its own outputs, a window per row of `sources` [M, D]: Xh^(l-1), [M C_l, D].
Tensor MetaContextDecoder::RollOut(int l, const Tensor& sources) {
  const int64_t units = sources.dim(0), d = sources.dim(1), chunk = decoder_.model().level(l).chunk;
  const std::vector<KvCache*> windows = EmptyWindows(l, units);
  const Tensor outputs = context_.Empty({units, chunk * d}, sources.dtype());
  Tensor out;
  for (int64_t j = 0; j < chunk; ++j) {
    out = j == 0 ? BeginWindows(context_, decoder_.model(), l, sources, windows)
                 : StepWindows(context_, decoder_.model(), l, out, windows);
    ops::Cast(context_, out, outputs.Columns(j * d, (j + 1) * d));
  }
  return outputs.Reshape({units * chunk, d});
}

// All level-1 chunks side by side, a token of each at a time.
std::vector<int32_t> MetaContextDecoder::DecodeChunks(const Tensor& sources, int64_t sequences, const Choose& choose) {
  const PhotonModel& model = decoder_.model();
  const int64_t units = sources.dim(0), chunk = model.level(1).chunk, units_each = units / sequences;
  const std::vector<KvCache*> windows = EmptyWindows(1, units);
  std::vector<int32_t> tokens(units * chunk), chosen;
  for (int64_t j = 0; j < chunk; ++j) {
    Tape tape(context_, Tape::Mode::kEvaluate);
    const Tensor hidden =
        j == 0 ? BeginWindows(context_, model, 1, sources, windows)
               : StepWindows(context_, model, 1, model.EmbedTokens(tape, UploadIds(context_, chosen)).value, windows);
    std::vector<Place> places;
    for (int64_t u = 0; u < units; ++u) places.push_back({u / units_each, u % units_each * chunk + j});
    chosen = choose(model.Head(tape, Var(hidden)).value, places);
    PHOTON_CHECK_EQ(static_cast<int64_t>(chosen.size()), units);
    for (int64_t u = 0; u < units; ++u) tokens[u * chunk + j] = chosen[u];
  }
  return tokens;
}

// All decoders above the tokens: S^1 of the next meta-context's level-1 units. `reconstructed`: Xh^(L-1), [states *
// C_L, D].
Tensor MetaContextDecoder::RollDown(States states, Tensor* reconstructed) {
  Tensor sources = decoder_.TopSources(states);
  for (int l = decoder_.model().levels(); l >= 2; --l) {
    sources = RollOut(l, sources);
    if (l == decoder_.model().levels()) *reconstructed = sources;
  }
  return sources;
}

Tensor MetaContextDecoder::Advance(States states) {
  PHOTON_CHECK(feedback_ == Feedback::kReconstruction);
  const int top = decoder_.model().levels();
  Tensor reconstructed;
  const Tensor sources = RollDown(states, &reconstructed);
  Tape tape(context_, Tape::Mode::kEvaluate);
  const Tensor chunks = decoder_.model().level(top).chunker.Forward(tape, Var(reconstructed)).value;
  decoder_.SetTops(states, decoder_.StepEncoder(top, chunks, states));
  for (DecodingState* state : states) state->tokens += decoder_.meta_context();
  return sources;
}

std::vector<int32_t> MetaContextDecoder::Decode(States states, const Choose& choose) {
  const int64_t sequences = static_cast<int64_t>(states.size());
  if (feedback_ == Feedback::kReconstruction) return DecodeChunks(Advance(states), sequences, choose);
  Tensor reconstructed;
  const std::vector<int32_t> tokens = DecodeChunks(RollDown(states, &reconstructed), sequences, choose);
  decoder_.EncodeMetaContexts(states, tokens);
  return tokens;
}

}  // namespace photon
