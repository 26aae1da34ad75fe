// `hier`: exact decoding of PHOTON, chunk by chunk (spec, section 6), for any L >= 1 and all of shift, contents and
// encoder scope. Lazy: a level's window moves to its next slot when the level below asks for its next source S.
#pragma once

#include <vector>

#include "inference/decoder.h"
#include "model/photon.h"

namespace photon {

class PhotonDecoder final : public Decoder {
 public:
  PhotonDecoder(const Context& context, const PhotonModel& model, OpenedDevice* device = nullptr);

  DecodingState NewState(int64_t expected_tokens) const override;
  // Whole meta-contexts go through the encoders in bulk, the rest chunk by chunk.
  int64_t prompt_unit() const override { return meta_context(); }
  int64_t UnitTokens(int64_t prompt) const override;
  Tensor ReadUnits(States states, absl::Span<const int32_t> tokens) const override;
  void ReadRest(States states, absl::Span<const absl::Span<const int32_t>> rests) const override;
  DecodingState CopyOfBeginning(const DecodingState& state, int64_t tokens, const Tensor& last) const override;
  int64_t border() const override { return tokens_per_unit_[1]; }
  Tensor NextLogits(States states) const override;
  void Accept(States states, absl::Span<const int32_t> tokens) const override;

  // Pieces of a step, which the other modes share. States at a meta-context boundary, each given the same number of
  // whole meta-contexts (one at least), `tokens` [states * n]: encoders, bottom-up, nothing decoded. Returns X^l [M_l,
  // D] of the new units, [l - 1].
  std::vector<Step::Value> EncodeMetaContexts(Step& step, States states, absl::Span<const int32_t> tokens) const;
  // One new position per sequence, A^l [n, D], through encoder l: X^l [n, D].
  Step::Value StepEncoder(Step& step, int l, Step::Value chunks, States states) const;
  // S^L of each sequence's next meta-context, [n, D].
  Step::Value TopSources(Step& step, States states) const;
  // Every state's `top` := its row of x [n, D].
  void SetTops(Step& step, States states, Step::Value x) const;
  // Logits of the outputs of level-1 windows.
  Step::Value Head(Step& step, Step::Value outputs) const;
  // The decoder's embedding of one token a row.
  Step::Value Embed(Step& step, absl::Span<const int32_t> ids) const;
  // A^l of what chunker l is given.
  Step::Value Chunk(Step& step, int l, Step::Value parts) const;

  const PhotonModel& model() const override { return model_; }
  int64_t tokens_per_unit(int l) const { return tokens_per_unit_[l]; }  // C_<=l
  int64_t meta_context() const { return tokens_per_unit_.back(); }      // C_<=L

 private:
  bool grouped(int l) const;                              // encoder l sees only its own level-(l+1) unit
  bool feeds_back() const;                                // windows above the tokens are fed their own outputs
  int64_t slot(const DecodingState& state, int l) const;  // of the next level-(l-1) unit in its level-l unit
  Step::Value NextSources(Step& step, int l, States states) const;
  Step::Value NextOutputs(Step& step, int l, States states) const;
  Step::Value Contents(Step& step, int l, States states) const;
  void CompleteChunks(States states) const;
  Step::Value EmbedForEncoder(Step& step, absl::Span<const int32_t> ids) const;
  Step::Value EncodeGroups(Step& step, int l, Step::Value chunks, int64_t added, States states) const;
  Step::Value EncodeOn(Step& step, int l, Step::Value chunks, int64_t added, States states) const;

  const PhotonModel& model_;
  std::vector<int64_t> tokens_per_unit_;
};

}  // namespace photon
