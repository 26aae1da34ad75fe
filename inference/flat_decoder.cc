#include "inference/flat_decoder.h"

#include <algorithm>

#include "inference/rows.h"

namespace photon {

DecodingState FlatDecoder::NewState(int64_t expected_tokens) const {
  DecodingState state;
  state.encoders.push_back(model_.stack().NewCache(context_, expected_tokens));
  return state;
}

void FlatDecoder::Prefill(DecodingState& state, absl::Span<const int32_t> prompt) const {
  PHOTON_CHECK_EQ(state.tokens, 0);
  if (prompt.empty()) return;
  state.tokens = static_cast<int64_t>(prompt.size());
  state.chunk = {prompt.back()};  // read by the next NextLogits, whose hidden vector it yields
  if (prompt.size() == 1) return;
  Tape tape(context_, Tape::Mode::kEvaluate);
  const absl::Span<const int32_t> read = prompt.first(prompt.size() - 1);
  const Var embedded = model_.EmbedTokens(tape, UploadIds(context_, read));
  model_.stack().Extend(context_, embedded.value, {&*state.encoders[0]}, model_.RopeTable(context_, read.size()));
}

Tensor FlatDecoder::NextLogits(States states) const {
  std::vector<int32_t> ids;
  std::vector<KvCache*> caches;
  int64_t positions = 0;
  for (DecodingState* state : states) {
    PHOTON_CHECK_EQ(state->chunk.size(), 1u) << "unread tokens of a flat sequence";
    ids.push_back(state->chunk[0]);
    state->chunk.clear();
    caches.push_back(&*state->encoders[0]);
    positions = std::max(positions, state->tokens);
  }
  Tape tape(context_, Tape::Mode::kEvaluate);
  const Var embedded = model_.EmbedTokens(tape, UploadIds(context_, ids));
  const Tensor hidden = model_.stack().Extend(context_, embedded.value, caches, model_.RopeTable(context_, positions));
  return model_.Head(tape, Var(hidden)).value;
}

void FlatDecoder::Accept(States states, absl::Span<const int32_t> tokens) const {
  PHOTON_CHECK_EQ(states.size(), tokens.size());
  for (size_t i = 0; i < states.size(); ++i) {
    states[i]->chunk.push_back(tokens[i]);
    ++states[i]->tokens;
  }
}

}  // namespace photon
