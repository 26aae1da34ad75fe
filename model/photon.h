// PHOTON for any L >= 1 (arXiv 2512.20687; the exact definition is docs/model.md). L = 1 is the Block Transformer.
#pragma once

#include <optional>
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
  const Weight* start;  // the start latent; null where this level does not shift (or another pipeline stage has it)
};

class PhotonModel final : public LanguageModel {
 public:
  PhotonModel(const ModelConfig& config, ModelLayout layout);

  void RunItem(Tape& tape, const ModelInput& input, const ForwardOptions& options, const ModelItem& item,
               TokenRows rows, const LogitsSink& sink, Passage* passage) const override;
  Var EmbedTokens(Tape& tape, const Tensor& ids) const override;
  Var EmbedTokens(Tape& tape, const ModelInput& input, int64_t begin, int64_t end) const override;
  int target_offset() const override { return 0; }

  // Pieces for generation.
  const Level& level(int l) const { return levels_[l - 1]; }
  Var EmbedForEncoder(Tape& tape, const Tensor& ids) const;  // [n, D / C_1]
  Var Head(Tape& tape, const Var& hidden) const;             // [n, D] -> [n, V], compute type
  bool shifts(int l) const { return l == levels() || config_.shift() == ModelConfig::ALL; }
  // Runs decoder l over the windows of prefix sources `s` [M, D]: the outputs Xh^(l-1), [M C_l, D].
  // `contents` [M C_l, D]; where its value is undefined, the windows are fed their own outputs.
  Var DecodeLevel(Tape& tape, int l, const Var& s, const Var& contents) const;

 private:
  using Stream = Stack::Stream;
  // The first item that has to do with level l, and the last one.
  const ModelItem& First(ModelItem::Kind kind, int l) const;
  const ModelItem& Last(ModelItem::Kind kind, int l) const;
  std::optional<Placement> PlaceAt(const ModelItem& item, Share share) const;

  void RunEncoderItem(Tape& tape, const ModelInput& input, const ForwardOptions& options, const ModelItem& item,
                      Passage* passage) const;
  void RunDecoderItem(Tape& tape, const ModelInput& input, const ModelItem& item, TokenRows rows,
                      Passage* passage) const;
  // X^(l-1) in the share of decoder l.
  Var Contents(Tape& tape, const ModelInput& input, int l, Passage* passage) const;
  // What decoder l's converter takes, in its share, from what the level above gives.
  Var Shift(Tape& tape, const ModelInput& input, int l, const Encoded& x) const;
  // Decoder l over windows of given contents: the stream through its stack, and what is read out of it.
  Stream EnterWindows(Tape& tape, const Level& level, const Var& prefixes, const Var& contents) const;
  Stream RunWindows(Tape& tape, const Level& level, const Stream& in, int64_t units, int begin, int end) const;
  Var ReadOut(Tape& tape, const Level& level, const Stream& in, int64_t units) const;
  WindowPlan Windows(const Context& context, const Level& level, int64_t units) const;
  Var DecodeOwn(Tape& tape, const Level& level, const Var& prefixes, int64_t units) const;

  std::vector<Level> levels_;
  const Weight* encoder_embedding_ = nullptr;
  const Weight* decoder_embedding_ = nullptr;
  const Weight* head_ = nullptr;
};

}  // namespace photon
