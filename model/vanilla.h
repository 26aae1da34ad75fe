// The flat Transformer (L = 0): token embedding, one stack over all positions, untied head (spec, section 5).
#pragma once

#include "model/language_model.h"
#include "model/stack.h"

namespace photon {

class VanillaModel final : public LanguageModel {
 public:
  explicit VanillaModel(const ModelConfig& config);

  std::vector<Reconstruction> Forward(Tape& tape, const ModelInput& input, const ForwardOptions& options,
                                      const LogitsSink& sink) const override;
  Var EmbedTokens(Tape& tape, const Tensor& ids) const override;
  int target_offset() const override { return 1; }

  // Pieces for generation.
  const Stack& stack() const { return stack_; }
  Var Head(Tape& tape, const Var& hidden) const;

 private:
  const Weight* embedding_;
  Stack stack_;
  const Weight* head_;
};

}  // namespace photon
