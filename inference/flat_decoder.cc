#include "inference/flat_decoder.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace photon {

DecodingState FlatDecoder::NewState(int64_t expected_tokens) const {
  DecodingState state;
  state.encoders.push_back(model_.stack().NewCache(context_, expected_tokens));
  return state;
}

// The last token of a prompt is read by the next NextLogits, whose hidden vector it yields.
int64_t FlatDecoder::UnitTokens(int64_t prompt) const { return std::max<int64_t>(prompt - 1, 0) / kUnit * kUnit; }

Tensor FlatDecoder::ReadUnits(States states, absl::Span<const int32_t> tokens) const {
  Step step(context_);
  Read(step, states, tokens);
  RunOnce(context_, step);
  for (DecodingState* state : states) state->tokens += static_cast<int64_t>(tokens.size() / states.size());
  return Tensor();
}

void FlatDecoder::ReadRest(States states, absl::Span<const absl::Span<const int32_t>> rests) const {
  std::map<size_t, std::pair<std::vector<DecodingState*>, std::vector<int32_t>>> alike;  // read together, by length
  for (size_t i = 0; i < states.size(); ++i) {
    if (rests[i].size() < 2) continue;
    auto& [group, tokens] = alike[rests[i].size() - 1];
    group.push_back(states[i]);
    tokens.insert(tokens.end(), rests[i].begin(), rests[i].end() - 1);
  }
  for (const auto& [length, read] : alike) ReadUnits(read.first, read.second);
  for (size_t i = 0; i < states.size(); ++i) {
    if (!rests[i].empty()) Accept(states.subspan(i, 1), rests[i].last(1));
  }
}

DecodingState FlatDecoder::CopyOfBeginning(const DecodingState& state, int64_t tokens, const Tensor&) const {
  DecodingState copy;
  copy.tokens = tokens;
  copy.encoders.push_back(state.encoders[0]->Copy(tokens));
  return copy;
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
