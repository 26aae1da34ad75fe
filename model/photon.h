// PHOTON for any L >= 1 (arXiv 2512.20687; the exact definition is docs/model.md). L = 1 is the Block Transformer.
#pragma once

#include <vector>

#include "model/chunker.h"
#include "model/language_model.h"
#include "model/stack.h"

namespace photon {

// The modules of one level. Generation steps through them with caches; the training forward runs them over everything.
struct Level {
  int index;              // l, from 1
  int64_t chunk, prefix;  // C_l, R_l
  Chunker chunker;
  Stack encoder;
  Converter converter;
  Stack decoder;
  const Weight* start;  // the start latent; null where this level does not shift
};

class PhotonModel final : public LanguageModel {
 public:
  explicit PhotonModel(const ModelConfig& config);

  std::vector<Reconstruction> Forward(Tape& tape, const ModelInput& input, const ForwardOptions& options,
                                      const LogitsSink& sink) const override;
  Var EmbedTokens(Tape& tape, const Tensor& ids) const override;
  int target_offset() const override { return 0; }

  // Pieces for generation.
  const Level& level(int l) const { return levels_[l - 1]; }
  Var EmbedForEncoder(Tape& tape, const Tensor& ids) const;  // [n, D / C_1]
  Var Head(Tape& tape, const Var& hidden) const;             // [n, D] -> [n, V], compute type
  bool shifts(int l) const { return level(l).start != nullptr; }
  // Runs decoder l over the windows of prefix sources `s` [M, D]: the outputs Xh^(l-1), [M C_l, D].
  // `contents` [M C_l, D]; where its value is undefined, the windows are fed their own outputs.
  Var DecodeLevel(Tape& tape, int l, const Var& s, const Var& contents) const;

 private:
  std::vector<Var> Encode(Tape& tape, const ModelInput& input, const ForwardOptions& options) const;
  Var Shift(Tape& tape, const ModelInput& input, int l, const Var& x) const;
  Var DecodeGiven(Tape& tape, const Level& level, const Var& prefixes, int64_t units, const Var& contents) const;
  Var DecodeOwn(Tape& tape, const Level& level, const Var& prefixes, int64_t units) const;

  std::vector<Level> levels_;
  const Weight* encoder_embedding_;
  const Weight* decoder_embedding_;
  const Weight* head_;
};

}  // namespace photon
