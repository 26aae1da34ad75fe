// One token from a row of logits: greedy, or drawn from what truncation leaves.
//
// With w_i = exp((logit_i - largest) / temperature), these steps follow each other, each on what the one before left:
//   min-p      w_i >= min_p (vLLM, Hugging Face, llama.cpp: a token at least min_p as likely as the most likely one)
//   top-k      the k largest logits; at the border the lowest ids stay
//   typical-p  the fewest tokens, those of smallest | -log p_i - H | first, whose probabilities reach p; H is the
//              entropy of what is left (Meister et al. 2022; Hugging Face)
//   top-p      the fewest tokens, the most likely first, whose probabilities reach p (Holtzman et al. 2020; as in vLLM
//              and Hugging Face the token that reaches p stays)
// The order is vLLM's (temperature before all cuts, min-p before top-k and top-p), with typical-p before top-p as in
// llama.cpp. Then one token is drawn in proportion to w, by inversion over rising ids.
//
// Nothing is sorted, and nothing is allocated once the workspace has its size: build/bench/sampler measures it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "inference/block_maxima.h"
#include "inference/sampling_options.h"

namespace photon {

// A workspace for rows of any sequences; what it returns depends on the arguments alone. Used by one thread; A is float
// or double.
template <typename A>
class Sampler {
 public:
  // `uniform` in [0, 1) decides. Of `options`, which must be valid, penalties and biases are not looked at: they are in
  // the logits already. Never a token of logit minus infinity, unless all are (then 0).
  int32_t Sample(absl::Span<const A> logits, const SamplingOptions& options, double uniform);

 private:
  struct Candidate {
    int32_t id;
    A logit, weight;
    A key;  // tokens of small key stay, of equals those of low id
  };
  static bool Before(const Candidate& a, const Candidate& b) { return a.key != b.key ? a.key < b.key : a.id < b.id; }

  void WeightsOf(int64_t begin, int64_t end, A* weights) const;
  double SumAllWeights();
  int32_t DrawFromAll(double uniform);
  void Gather(A least);
  void GatherNucleus(double p);
  void KeepMostLikely(int64_t k);
  void KeepTypical(double p);
  void KeepMass(double wanted);
  Candidate BorderOfScratch(double wanted);
  void KeepUpTo(const Candidate& border);
  double Mass() const;
  int32_t DrawCandidate(double uniform) const;

  BlockMaxima<A> maxima_;
  absl::Span<const A> logits_;
  A largest_ = 0, inverse_temperature_ = 1;
  std::vector<Candidate> candidates_, scratch_;  // candidates_ by rising id
  double total_ = 0;                             // the weight of all that the last cut left, gathered or not
  std::vector<double> block_sums_, bin_weights_;
};

extern template class Sampler<float>;
extern template class Sampler<double>;

}  // namespace photon
