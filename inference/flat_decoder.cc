#include "inference/flat_decoder.h"

#include <utility>

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
  const absl::Span<const int32_t> read = prompt.first(prompt.size() - 1);
  DecodingState* const states[] = {&state};
  for (size_t begin = 0; begin < read.size(); begin += kPrefillTokens) {
    Step step(context_);
    Read(step, states, read.subspan(begin, kPrefillTokens));
    RunOnce(context_, step);
  }
}

Step::Value FlatDecoder::Read(Step& step, States states, absl::Span<const int32_t> tokens) const {
  std::vector<KvCache*> caches;
  for (DecodingState* state : states) caches.push_back(&*state->encoders[0]);
  const Step::Caches extended = step.Append(caches, static_cast<int64_t>(tokens.size() / states.size()));
  const Step::Value ids = step.Upload(tokens);
  const Tensor rope = model_.RopeTable(context_, extended.longest);
  return step.Do("read", [this, ids, extended, rope](const Step::Values& values) {
    Tape tape(context_, Tape::Mode::kEvaluate);
    const Var embedded = model_.EmbedTokens(tape, values[ids]);
    return model_.stack().Extend(context_, embedded.value, extended.Table(values), rope);
  });
}

Tensor FlatDecoder::NextLogits(States states) const {
  std::vector<int32_t> ids;
  for (DecodingState* state : states) {
    PHOTON_CHECK_EQ(state->chunk.size(), 1u) << "unread tokens of a flat sequence";
    ids.push_back(state->chunk[0]);
    state->chunk.clear();
  }
  Step step(context_);
  const Step::Value hidden = Read(step, states, ids);
  const Step::Value logits = step.Do("head", [this, hidden](const Step::Values& values) {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return model_.Head(tape, Var(values[hidden])).value;
  });
  return steps().Run(std::move(step), logits);
}

void FlatDecoder::Accept(States states, absl::Span<const int32_t> tokens) const {
  PHOTON_CHECK_EQ(states.size(), tokens.size());
  for (size_t i = 0; i < states.size(); ++i) {
    states[i]->chunk.push_back(tokens[i]);
    ++states[i]->tokens;
  }
}

}  // namespace photon
