// One token from a row of logits on the CPU: core/ops/sample.h has the definitions.
//
// Nothing is sorted, and nothing is allocated once the workspace has its size: build/bench/sampler measures it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/cpu/block_maxima.h"
#include "core/ops/sample.h"

namespace photon::cpu {

// A workspace for rows of any sequences; what it returns depends on the arguments alone. Used by one thread; A is float
// or double.
template <typename A>
class Sampler {
 public:
  // `uniform` in [0, 1) decides. Never a token of logit minus infinity, unless all are (then 0).
  int32_t Sample(absl::Span<const A> logits, const ops::SamplingSettings& settings, double uniform);

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

}  // namespace photon::cpu
