#include "core/cpu/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

template <typename A>
constexpr A kAny = -std::numeric_limits<A>::infinity();

}  // namespace

template <typename A>
int32_t Sampler<A>::Sample(absl::Span<const A> logits, const ops::SamplingSettings& settings, double uniform) {
  logits_ = logits;
  maxima_.Read(logits);
  largest_ = maxima_.largest();
  if (settings.temperature == 0 || !std::isfinite(largest_)) return maxima_.first_largest();
  // Bounded, so that 0 * inverse stays 0 and minus infinity * inverse what it is: at 1e-30 all but the largest logits
  // are gone anyway, and at 1e30 all are equal.
  const double temperature = std::clamp(settings.temperature, 1e-30, 1e30);
  inverse_temperature_ = static_cast<A>(1 / temperature);

  const bool limited = settings.top_k > 0 && settings.top_k < static_cast<int64_t>(logits.size());
  A least = settings.min_p > 0 ? largest_ + static_cast<A>(temperature * std::log(settings.min_p)) : kAny<A>;
  if (limited) least = std::max(least, maxima_.ReachedBy(settings.top_k));
  if (!limited && settings.min_p == 0 && settings.typical_p == 1) {
    if (settings.top_p == 1) return DrawFromAll(uniform);
    GatherNucleus(settings.top_p);
  } else {
    Gather(least);
    if (limited) KeepMostLikely(settings.top_k);
    total_ = Mass();
    if (settings.typical_p < 1) KeepTypical(settings.typical_p);
  }
  if (settings.top_p < 1) {
    for (Candidate& c : candidates_) c.key = -c.logit;
    KeepMass(settings.top_p * total_);
  }
  return DrawCandidate(uniform);
}

// weights[i - begin], at most a block of them.
template <typename A>
void Sampler<A>::WeightsOf(int64_t begin, int64_t end, A* weights) const {
  ForEachVector<A>(end - begin, [&](int64_t i, auto lanes) {
    const Vec<A> logit = Load(logits_.data() + begin + i, lanes, kAny<A>);
    Store(weights + i, Exp((logit - largest_) * inverse_temperature_), lanes);
  });
}

template <typename A>
double Sampler<A>::SumAllWeights() {
  block_sums_.clear();
  double sum = 0;
  maxima_.ForEachBlock(kAny<A>, [&](int64_t begin, int64_t end) {
    Vec<A> block{};
    ForEachVector<A>(end - begin, [&](int64_t i, auto lanes) {
      const Vec<A> logit = Load(logits_.data() + begin + i, lanes, kAny<A>);
      block += Exp((logit - largest_) * inverse_temperature_);
    });
    block_sums_.push_back(Sum<A>(block));
    sum += block_sums_.back();
  });
  return sum;
}

template <typename A>
int32_t Sampler<A>::DrawFromAll(double uniform) {
  double rest = uniform * SumAllWeights();
  int64_t block = 0, last = 0;  // last: with any weight, for a draw that rounding carries past the end
  for (; block < static_cast<int64_t>(block_sums_.size()); ++block) {
    if (block_sums_[block] > 0) last = block;
    if (block_sums_[block] > rest) break;
    rest -= block_sums_[block];
  }
  const int64_t begin = std::min<int64_t>(block, last) * BlockMaxima<A>::kBlock;
  const int64_t end = std::min<int64_t>(begin + BlockMaxima<A>::kBlock, logits_.size());
  A weights[BlockMaxima<A>::kBlock];
  WeightsOf(begin, end, weights);
  int64_t chosen = begin;
  for (int64_t i = begin; i < end; ++i) {
    const double weight = weights[i - begin];
    if (weight == 0) continue;
    chosen = i;
    if (weight > rest) break;
    rest -= weight;
  }
  return static_cast<int32_t>(chosen);
}

// Candidates: all of a logit of at least `least` that can be drawn.
template <typename A>
void Sampler<A>::Gather(A least) {
  candidates_.clear();
  A weights[BlockMaxima<A>::kBlock];
  maxima_.ForEachBlock(least, [&](int64_t begin, int64_t end) {
    WeightsOf(begin, end, weights);
    for (int64_t i = begin; i < end; ++i) {
      const A weight = weights[i - begin];
      if (logits_[i] >= least && weight > 0) candidates_.push_back({static_cast<int32_t>(i), logits_[i], weight, 0});
    }
  });
}

// Enough of the most likely tokens to hold a share p of all, and seldom many more: most of the time a few blocks' best
// do, and nothing else of the row is read again.
template <typename A>
void Sampler<A>::GatherNucleus(double p) {
  total_ = SumAllWeights();
  for (const int64_t share : {16, 4}) {
    const int64_t count = maxima_.blocks() / share;
    if (count == 0) continue;
    Gather(maxima_.ReachedBy(count));
    if (Mass() >= p * total_) return;
  }
  // All tokens lighter than this together weigh less than 1 - p.
  const double lightest = (1 - p) * total_ / static_cast<double>(logits_.size());
  Gather(largest_ + static_cast<A>(std::log(lightest) / static_cast<double>(inverse_temperature_)));
}

template <typename A>
void Sampler<A>::KeepMostLikely(int64_t k) {
  if (static_cast<int64_t>(candidates_.size()) <= k) return;
  for (Candidate& c : candidates_) c.key = -c.logit;
  scratch_ = candidates_;
  std::nth_element(scratch_.begin(), scratch_.begin() + (k - 1), scratch_.end(), Before);
  KeepUpTo(scratch_[k - 1]);
}

template <typename A>
void Sampler<A>::KeepTypical(double p) {
  // With s = (logit - largest) / temperature: -log p_i - H = (sum of w s / sum of w) - s_i.
  const auto scaled = [&](const Candidate& c) { return (c.logit - largest_) * inverse_temperature_; };
  double mean = 0;
  for (const Candidate& c : candidates_) mean += static_cast<double>(c.weight) * scaled(c);
  mean /= total_;
  for (Candidate& c : candidates_) c.key = static_cast<A>(std::abs(mean - scaled(c)));
  KeepMass(p * total_);
  total_ = Mass();
}

// The fewest candidates, in the order of their keys, whose weights reach `wanted`. Keys are counted into bins by weight
// first, so that only the border's bin has to be put in order.
template <typename A>
void Sampler<A>::KeepMass(double wanted) {
  if (candidates_.empty()) return;
  const auto [low, high] = std::minmax_element(candidates_.begin(), candidates_.end(),
                                               [](const Candidate& a, const Candidate& b) { return a.key < b.key; });
  const A first = low->key, range = high->key - first;
  constexpr int kBins = 1024;
  // One bin where the keys are too near each other for more: it is put in order as any border's is.
  const A scale = range > std::numeric_limits<A>::min() * kBins ? kBins / range : 0;
  const auto bin = [&](const Candidate& c) { return std::min(static_cast<int>((c.key - first) * scale), kBins - 1); };
  bin_weights_.assign(kBins, 0);
  for (const Candidate& c : candidates_) bin_weights_[bin(c)] += c.weight;
  double before = 0;
  int border = 0;
  while (border < kBins - 1 && before + bin_weights_[border] < wanted) before += bin_weights_[border++];
  while (bin_weights_[border] == 0) --border;  // rounding carried `wanted` past the end
  scratch_.clear();
  for (const Candidate& c : candidates_) {
    if (bin(c) == border) scratch_.push_back(c);
  }
  KeepUpTo(BorderOfScratch(wanted - before));
}

// The candidate of scratch_, in the order of their keys, with which the weights reach `wanted`: halves are parted like
// in quickselect, until one is left.
template <typename A>
typename Sampler<A>::Candidate Sampler<A>::BorderOfScratch(double wanted) {
  auto begin = scratch_.begin(), end = scratch_.end();
  double before = 0;
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, Before);
    double mass = before;
    for (auto c = begin; c != middle; ++c) mass += c->weight;
    if (mass >= wanted) {
      end = middle;
    } else {
      before = mass;
      begin = middle;
    }
  }
  return *begin;
}

template <typename A>
void Sampler<A>::KeepUpTo(const Candidate& border) {
  const auto beyond = [&](const Candidate& c) { return Before(border, c); };
  candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), beyond), candidates_.end());
}

template <typename A>
double Sampler<A>::Mass() const {
  double mass = 0;
  for (const Candidate& c : candidates_) mass += c.weight;
  return mass;
}

template <typename A>
int32_t Sampler<A>::DrawCandidate(double uniform) const {
  double rest = uniform * Mass();
  for (const Candidate& c : candidates_) {
    if (c.weight > rest) return c.id;
    rest -= c.weight;
  }
  return candidates_.empty() ? maxima_.first_largest() : candidates_.back().id;
}

template class Sampler<float>;
template class Sampler<double>;

}  // namespace photon::cpu
