// Log-probabilities of given tokens, read in segments: what a sequence leaves behind for the next segment is its caches
// alone, so that memory grows with the caches and not with activations.
//
// The exact way is the training forward, cut at meta-contexts: encoders go on with their caches, decoders run over the
// segment's windows, all of them at once. From `rec` on (spec, section 6) the states advance by RecGen, whatever the
// tokens are, and the tokens are forced.
#pragma once

#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "inference/decoder.h"
#include "model/language_model.h"

namespace photon {

class SegmentScorer {
 public:
  virtual ~SegmentScorer() = default;
  // Of `sequences` empty sequences that are read in step; caches have room for `expected_tokens` each. The model and
  // the context outlive the scorer.
  static std::unique_ptr<SegmentScorer> Create(const Context& context, const LanguageModel& model, int64_t sequences,
                                               int64_t expected_tokens);

  // The next segment of every sequence, `tokens` [sequences * n], n a multiple of C_<=L. `targets` [sequences * n]: the
  // token that each row's logits score (model.target_offset()), or -1 where none is wanted. Returns their natural-log
  // probabilities, 0 where none was wanted.
  virtual std::vector<double> Read(absl::Span<const int32_t> tokens, absl::Span<const int32_t> targets) = 0;
  // From here on by `rec`. For L >= 2 and shift TOP.
  virtual void BeginRec() = 0;

  virtual StateBytes bytes() const = 0;  // of all sequences
};

}  // namespace photon
