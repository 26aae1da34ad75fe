// Ordinary decoding of the flat model: one cache over all positions.
#pragma once

#include "inference/decoder.h"
#include "model/vanilla.h"

namespace photon {

class FlatDecoder final : public Decoder {
 public:
  FlatDecoder(const Context& context, const VanillaModel& model, OpenedDevice* device = nullptr)
      : Decoder(context, device), model_(model) {}

  DecodingState NewState(int64_t expected_tokens) const override;
  int64_t prompt_unit() const override { return kUnit; }
  int64_t UnitTokens(int64_t prompt) const override;
  Tensor ReadUnits(States states, absl::Span<const int32_t> tokens) const override;
  void ReadRest(States states, absl::Span<const absl::Span<const int32_t>> rests) const override;
  DecodingState CopyOfBeginning(const DecodingState& state, int64_t tokens, const Tensor& last) const override;
  int64_t border() const override { return 1; }
  Tensor NextLogits(States states) const override;
  void Accept(States states, absl::Span<const int32_t> tokens) const override;

  const VanillaModel& model() const override { return model_; }

  // The next tokens of every sequence, `tokens` [states * n], through the stack alone (nothing is accepted): the final
  // norm's outputs, [states * n, D].
  Step::Value Read(Step& step, States states, absl::Span<const int32_t> tokens) const;

 private:
  static constexpr int64_t kUnit = 16;

  const VanillaModel& model_;
};

}  // namespace photon
