// Exact decoding, token by token: the modes' common ground. For models with levels this is `hier`; for the flat model
// ordinary decoding with one cache. Its logits are those of the training forward.
//
// A decoder holds no sequence's data: any number of DecodingStates, in any phase, go through one call together. It uses
// one context, hence belongs to one thread.
#pragma once

#include <memory>

#include "absl/types/span.h"
#include "inference/decoding_state.h"
#include "inference/step_runner.h"
#include "model/language_model.h"

namespace photon {

using States = absl::Span<DecodingState* const>;

// Prompts are read in parts of about so many tokens, so that only caches grow with their length: the activations of
// 2048 tokens (tens of MB in a model of 100 M parameters), and products large enough to run at full speed.
inline constexpr int64_t kPrefillTokens = 2048;

class Decoder {
 public:
  virtual ~Decoder() = default;
  // The model and the context outlive the decoder and its states. `device`, the context's, lets steps of decoding be
  // recorded and replayed where it can; null: it does not. A decoder keeps its records: one for many sequences.
  static std::unique_ptr<Decoder> Create(const Context& context, const LanguageModel& model,
                                         OpenedDevice* device = nullptr);

  // An empty sequence; caches have room for `expected_tokens` and grow beyond, by slabs.
  virtual DecodingState NewState(int64_t expected_tokens) const = 0;
  // Reads a prompt (any length, 0 too) into an empty state: the next three in turn.
  void Prefill(DecodingState& state, absl::Span<const int32_t> prompt) const;

  // Prompts are read in whole units of so many tokens as far as that goes: meta-contexts; 16 tokens in the flat model.
  virtual int64_t prompt_unit() const = 0;
  // How many of the first tokens of a prompt that is so long: a multiple of the unit.
  virtual int64_t UnitTokens(int64_t prompt) const = 0;
  // The next units of each sequence, `tokens` [states * n], n the same for all; nothing is decoded. Returns what the
  // last encoder made of each unit, [states * units, D], which is all that a state at that place needs beside its
  // caches (CopyOfBeginning); undefined where it needs nothing.
  virtual Tensor ReadUnits(States states, absl::Span<const int32_t> tokens) const = 0;
  // The rest of each sequence's prompt.
  virtual void ReadRest(States states, absl::Span<const absl::Span<const int32_t>> rests) const = 0;
  // A state of its own as `state`, which holds nothing but units that were read, was after the first `tokens`, whole
  // units, one at least. `last` [1, D]: ReadUnits' row of the last of these.
  virtual DecodingState CopyOfBeginning(const DecodingState& state, int64_t tokens, const Tensor& last) const = 0;

  // Sequences that hold whole multiples of so many tokens begin their next steps alike: C_1; 1 in the flat model.
  virtual int64_t border() const = 0;
  // Logits of the next token of each sequence: [n, V] in the compute type, good until the decoder is used again. To be
  // called once before each Accept. The flat model needs at least one token accepted.
  virtual Tensor NextLogits(States states) const = 0;
  // Appends a token to each sequence.
  virtual void Accept(States states, absl::Span<const int32_t> tokens) const = 0;

  const Context& context() const { return context_; }
  virtual const LanguageModel& model() const = 0;
  StepRunner& steps() const { return *steps_; }

 protected:
  Decoder(const Context& context, OpenedDevice* device)
      : context_(context), steps_(std::make_unique<StepRunner>(context, device)) {}

  const Context& context_;

 private:
  std::unique_ptr<StepRunner> steps_;
};

}  // namespace photon
