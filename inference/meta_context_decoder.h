// `hier-parallel` and `rec`: a whole meta-context at a time, its level-1 chunks side by side (PHOTON paper, definitions
// A.2 and A.3). What they give up is in docs/generation.md. For L >= 2 and shift TOP.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "inference/generate_options.h"
#include "inference/photon_decoder.h"

namespace photon {

class MetaContextDecoder {
 public:
  enum class Feedback {
    kTokens,          // hier-parallel: the new tokens are encoded, bottom-up
    kReconstruction,  // rec: the top encoder reads the decoder's own Xh^(L-1)
  };
  // Picks tokens from logits [rows, V] of different places. Row r is token offset(r) of sequence sequence(r)'s
  // meta-context.
  struct Place {
    int64_t sequence;
    int64_t offset;
  };
  static Feedback FeedbackOf(GenerationMode mode) {
    return mode == GenerationMode::kRec ? Feedback::kReconstruction : Feedback::kTokens;
  }
  using Choose = std::function<std::vector<int32_t>(const Tensor& logits, absl::Span<const Place> places)>;

  MetaContextDecoder(const Context& context, const PhotonDecoder& decoder, Feedback feedback)
      : context_(context), decoder_(decoder), feedback_(feedback), windows_(decoder.model().levels()) {}

  // Lets go of what this mode never reads again: hier's windows, and with kReconstruction all encoders below the top.
  // States at a meta-context boundary.
  void TakeOver(States states) const;
  // Decodes the next meta-context of every sequence: [states * C_<=L] tokens, one sequence after the other.
  std::vector<int32_t> Decode(States states, const Choose& choose);
  // rec only: goes on by one meta-context, whatever its tokens are. Returns the sources S^1 of its level-1 units,
  // [states * units, D].
  Tensor Advance(States states);

  int64_t tokens() const { return decoder_.meta_context(); }         // in a meta-context
  int64_t chunk() const { return decoder_.model().level(1).chunk; }  // tokens chosen one after the other: C_1
  int64_t window_bytes() const;  // keys and values of the windows of the last Decode()
  int64_t allocated_window_bytes() const;
  // Gives back the windows beyond those of so many sequences.
  void ShrinkTo(int64_t sequences);

 private:
  std::vector<KvCache*> EmptyWindows(int l, int64_t count);
  Step::Value RollOut(Step& step, int l, Step::Value sources, int64_t units);
  Step::Value RollDown(Step& step, States states, Step::Value* reconstructed);
  Step::Value PlanAdvance(Step& step, States states);
  std::vector<int32_t> DecodeChunks(Step first, Step::Value sources, int64_t sequences, const Choose& choose);

  const Context& context_;
  const PhotonDecoder& decoder_;
  Feedback feedback_;
  std::vector<std::vector<std::unique_ptr<KvCache>>> windows_;  // [l - 1]: reused by every meta-context
};

}  // namespace photon
