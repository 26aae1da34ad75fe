// The logits that given tokens are judged by, read in segments: what a sequence leaves behind for the next segment is
// its caches alone, so that memory grows with the caches and not with activations.
//
// The exact way is the training forward, cut at meta-contexts: encoders go on with their caches, decoders run over the
// segment's windows, all of them at once. By `hier-parallel` decoders above the tokens are fed their own outputs, as it
// generates: the training forward of a model with contents RECONSTRUCTED. From `rec` on (spec, section 6) the states
// advance by RecGen, whatever the tokens are, and the tokens are forced.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "inference/decoder.h"
#include "inference/generate_options.h"
#include "model/language_model.h"

namespace photon {

class SegmentScorer {
 public:
  static constexpr int64_t kSliceTokens = 256;  // logits of a slice at V = 32,000: 33 MB in fp32

  virtual ~SegmentScorer() = default;
  // Of `sequences` empty sequences that are read in step; caches have room for `expected_tokens` each. The model and
  // the context outlive the scorer. In mode kRec it reads exactly until BeginRec.
  static std::unique_ptr<SegmentScorer> Create(const Context& context, const LanguageModel& model, GenerationMode mode,
                                               int64_t sequences, int64_t expected_tokens);

  // Logits [n, V] of rows rows[0], .. rows[n - 1] of a segment, ascending; row i scores the token at
  // i + model.target_offset().
  using LogitsVisitor = std::function<void(const Tensor& logits, absl::Span<const int64_t> rows)>;

  // The next segment of every sequence, `tokens` [sequences * n], n a multiple of C_<=L. `visit` sees the rows whose
  // logits are wanted [sequences * n], and those that share a level-1 chunk with them, in slices of at most
  // kSliceTokens (or one chunk). For all others decoder 1 and the head, which are most of the work, don't run.
  virtual void Read(absl::Span<const int32_t> tokens, const std::vector<bool>& wanted, const LogitsVisitor& visit) = 0;
  // From here on by `rec`. For L >= 2 and shift TOP.
  virtual void BeginRec() = 0;
};

}  // namespace photon
