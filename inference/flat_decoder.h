// Ordinary decoding of the flat model: one cache over all positions.
#pragma once

#include "inference/decoder.h"
#include "model/vanilla.h"

namespace photon {

class FlatDecoder final : public Decoder {
 public:
  FlatDecoder(const Context& context, const VanillaModel& model) : context_(context), model_(model) {}

  DecodingState NewState(int64_t expected_tokens) const override;
  void Prefill(DecodingState& state, absl::Span<const int32_t> prompt) const override;
  Tensor NextLogits(States states) const override;
  void Accept(States states, absl::Span<const int32_t> tokens) const override;

  // The next tokens of every sequence, `tokens` [states * n], through the stack alone (nothing is accepted): the final
  // norm's outputs, [states * n, D].
  Tensor Read(States states, absl::Span<const int32_t> tokens) const;

 private:
  const Context& context_;
  const VanillaModel& model_;
};

}  // namespace photon
