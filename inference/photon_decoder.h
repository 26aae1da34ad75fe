// `hier`: exact decoding of PHOTON, chunk by chunk (spec, section 6), for any L >= 1 and all of shift, contents and
// encoder scope. Lazy: a level's window moves to its next slot when the level below asks for its next source S.
#pragma once

#include <vector>

#include "inference/decoder.h"
#include "model/photon.h"

namespace photon {

class PhotonDecoder final : public Decoder {
 public:
  PhotonDecoder(const Context& context, const PhotonModel& model);

  DecodingState NewState(int64_t expected_tokens) const override;
  // Whole meta-contexts go through the encoders in bulk, kPrefillTokens at a time, the rest chunk by chunk.
  void Prefill(DecodingState& state, absl::Span<const int32_t> prompt) const override;
  Tensor NextLogits(States states) const override;
  void Accept(States states, absl::Span<const int32_t> tokens) const override;

  // Pieces that the other modes share. States at a meta-context boundary, each given the same number of whole
  // meta-contexts (one at least), `tokens` [states * n]: encoders, bottom-up, nothing decoded. Returns X^l [M_l, D] of
  // the new units, [l - 1].
  std::vector<Tensor> EncodeMetaContexts(States states, absl::Span<const int32_t> tokens) const;
  // One new position per sequence, A^l [n, D], through encoder l: X^l [n, D].
  Tensor StepEncoder(int l, const Tensor& chunks, States states) const;
  // S^L of each sequence's next meta-context, [n, D].
  Tensor TopSources(States states) const;
  // Every state's `top` := its row of x [n, D].
  void SetTops(States states, const Tensor& x) const;

  const PhotonModel& model() const { return model_; }
  int64_t tokens_per_unit(int l) const { return tokens_per_unit_[l]; }  // C_<=l
  int64_t meta_context() const { return tokens_per_unit_.back(); }      // C_<=L

 private:
  bool grouped(int l) const;                              // encoder l sees only its own level-(l+1) unit
  int64_t slot(const DecodingState& state, int l) const;  // of the next level-(l-1) unit in its level-l unit
  Tensor NextSources(int l, States states) const;
  Tensor NextOutputs(int l, States states) const;
  Tensor Contents(int l, States states) const;
  void CompleteChunks(States states) const;
  Tensor EncodeGroups(int l, const Tensor& chunks, States states) const;
  Tensor EncodeOn(int l, const Tensor& chunks, States states) const;

  const Context& context_;
  const PhotonModel& model_;
  std::vector<int64_t> tokens_per_unit_;
};

}  // namespace photon
