// The flat Transformer (L = 0): token embedding, one stack over all positions, untied head (spec, section 5).
#pragma once

#include "model/language_model.h"
#include "model/stack.h"

namespace photon {

class VanillaModel final : public LanguageModel {
 public:
  VanillaModel(const ModelConfig& config, ModelLayout layout);

  void RunItem(Tape& tape, const ModelInput& input, const ForwardOptions& options, const ModelItem& item,
               TokenRows rows, const LogitsSink& sink, Passage* passage) const override;
  Var EmbedTokens(Tape& tape, const Tensor& ids) const override;
  Var EmbedTokens(Tape& tape, const ModelInput& input, int64_t begin, int64_t end) const override;
  int target_offset() const override { return 1; }

  // Pieces for generation.
  const Stack& stack() const { return stack_; }
  Var Head(Tape& tape, const Var& hidden) const;

 private:
  const Weight* embedding_ = nullptr;
  Stack stack_;
  const Weight* head_ = nullptr;
};

}  // namespace photon
