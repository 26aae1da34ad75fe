#include "data/blend.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/random.h"
#include "core/rounding.h"
#include "data/round_in_two_orders.h"

namespace photon {
namespace {

using Wide = __int128;

constexpr int64_t kShortestBlock = 1024;

// The decimal digits of a weight: mantissa * 10^exponent is the number that its shortest notation stands for.
struct Decimal {
  int64_t mantissa = 0;
  int exponent = 0;
};

Decimal ToDecimal(double value) {
  char text[32];
  const char* end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
  Decimal decimal;
  const char* at = text;
  int decimals = 0;
  for (bool point = false; *at != 'e'; ++at) {
    if (*at == '.') {
      point = true;
      continue;
    }
    decimal.mantissa = decimal.mantissa * 10 + (*at - '0');
    decimals += point;
  }
  at += at[1] == '+' ? 2 : 1;
  std::from_chars(at, end, decimal.exponent);
  decimal.exponent -= decimals;
  return decimal;
}

// The weights times one power of ten, where all are whole then and their sum is in bounds; else empty.
std::vector<int64_t> WholeParts(const std::vector<double>& weights) {
  std::vector<Decimal> decimals;
  int lowest = std::numeric_limits<int>::max();
  for (double weight : weights) {
    decimals.push_back(ToDecimal(weight));
    if (weight > 0) lowest = std::min(lowest, decimals.back().exponent);
  }
  std::vector<int64_t> parts;
  Wide sum = 0;
  for (const Decimal& decimal : decimals) {
    Wide part = decimal.mantissa;
    for (int e = lowest; part > 0 && e < decimal.exponent; ++e) {
      part *= 10;
      if (part > Blend::kMostParts) return {};
    }
    sum += part;
    if (sum > Blend::kMostParts) return {};
    parts.push_back(static_cast<int64_t>(part));
  }
  return parts;
}

}  // namespace

std::vector<int64_t> PartsOfWeights(const std::vector<double>& weights) {
  std::vector<int64_t> parts = WholeParts(weights);
  if (parts.empty()) {
    const double largest = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double weight : weights) sum += weight / largest;  // scaled: a plain sum may overflow
    for (double weight : weights) {
      const auto part = std::llround(weight / largest / sum * static_cast<double>(Blend::kMostParts));
      parts.push_back(weight > 0 ? std::max<int64_t>(part, 1) : 0);
    }
  }
  int64_t common = 0;
  for (int64_t part : parts) common = std::gcd(common, part);
  for (int64_t& part : parts) part /= common;
  return parts;
}

absl::StatusOr<std::shared_ptr<const Blend>> Blend::Create(std::vector<int64_t> parts, uint64_t seed) {
  PHOTON_CHECK(!parts.empty());
  const std::shared_ptr<const Blend> blend(new Blend(std::move(parts), seed));
  for (int i = 0; i < blend->sources(); ++i) {
    if (CeilDivide(blend->sum_, blend->parts_[i]) <= kRarest) continue;
    return absl::InvalidArgumentError(absl::StrCat("source ", i, " would have less than one sample in ", kRarest,
                                                   ": raise its weight, or leave it out"));
  }
  return blend;
}

Blend::Blend(std::vector<int64_t> parts, uint64_t seed) : parts_(std::move(parts)), seed_(seed) {
  int64_t least = parts_[0];
  for (int64_t part : parts_) {
    PHOTON_CHECK(part > 0) << part;
    sum_ += part;
    least = std::min(least, part);
  }
  PHOTON_CHECK(sum_ <= 2 * kMostParts) << sum_;
  // In each block every source has a sample, so that no count goes down from one block's begin to the next.
  block_ = std::bit_ceil(static_cast<uint64_t>(std::max(kShortestBlock, CeilDivide(sum_, least))));
}

std::vector<int64_t> Blend::CountsAtBlock(int64_t index) const {
  const Wide position = static_cast<Wide>(index) * block_;
  std::vector<int64_t> counts(parts_.size());
  std::vector<Rounded> rounded;
  for (size_t i = 0; i < parts_.size(); ++i) {
    counts[i] = static_cast<int64_t>(position * parts_[i] / sum_);
    const auto fraction = static_cast<int64_t>(position * parts_[i] % sum_);
    if (fraction > 0) rounded.push_back({.item = i, .fraction = fraction});
  }
  // Time to the end of the window of the sample under way, and since its begin, both times w_i's denominator.
  const auto by_deadline = [this](const Rounded& a, const Rounded& b) {
    return static_cast<Wide>(sum_ - a.fraction) * parts_[b.item] <
           static_cast<Wide>(sum_ - b.fraction) * parts_[a.item];
  };
  const auto by_release = [this](const Rounded& a, const Rounded& b) {
    return static_cast<Wide>(a.fraction) * parts_[b.item] > static_cast<Wide>(b.fraction) * parts_[a.item];
  };
  std::vector<Rounded> second = rounded;
  std::stable_sort(rounded.begin(), rounded.end(), by_deadline);
  std::stable_sort(second.begin(), second.end(), by_release);
  for (size_t item : RoundInTwoOrders(rounded, second, sum_)) ++counts[item];
  return counts;
}

Blend::Block Blend::MakeBlock(int64_t index) const {
  Block block;
  block.begin = CountsAtBlock(index);
  block.source.resize(block_);
  block.rank.resize(block_);
  const std::vector<int64_t> end = CountsAtBlock(index + 1);
  const Wide position = static_cast<Wide>(index) * block_;
  // The window of each source's next sample, counted from the block's begin.
  struct Next {
    int32_t rank = 0, left = 0;
    int64_t release = 0, deadline = 0;
  };
  std::vector<Next> next(parts_.size());
  const auto open_window = [&](size_t i) {
    // (done - position * w_i) / w_i, the denominators multiplied out
    const Wide lead = (static_cast<Wide>(block.begin[i]) + next[i].rank) * sum_ - position * parts_[i];
    next[i].release = lead > 0 ? static_cast<int64_t>(lead / parts_[i]) : 0;
    next[i].deadline = std::min(block_, static_cast<int64_t>((lead + sum_ + parts_[i] - 1) / parts_[i]));
  };
  for (size_t i = 0; i < parts_.size(); ++i) {
    next[i].left = static_cast<int32_t>(end[i] - block.begin[i]);
    open_window(i);
  }
  for (int64_t at = 0; at < block_; ++at) {
    int chosen = -1;
    uint64_t draw = 0;  // of the chosen one among equal deadlines; drawn when first needed
    const Philox random(seed_, static_cast<uint64_t>(static_cast<int64_t>(position) + at));
    for (int i = 0; i < sources(); ++i) {
      if (next[i].left == 0 || next[i].release > at) continue;
      if (chosen < 0 || next[i].deadline < next[chosen].deadline) {
        chosen = i;
        draw = 0;
      } else if (next[i].deadline == next[chosen].deadline) {
        if (draw == 0) draw = uint64_t{random.Block(chosen)[0]} + 1;
        const uint64_t other = uint64_t{random.Block(i)[0]} + 1;
        if (other < draw) chosen = i, draw = other;
      }
    }
    PHOTON_CHECK(chosen >= 0 && next[chosen].deadline > at) << "position " << at << " of block " << index;
    block.source[at] = chosen;
    block.rank[at] = next[chosen].rank++;
    --next[chosen].left;
    open_window(chosen);
  }
  return block;
}

std::shared_ptr<const Blend::Block> Blend::BlockAt(int64_t index) const {
  const std::lock_guard lock(mutex_);
  for (const Cached& cached : cached_) {
    if (cached.index == index) return cached.block;
  }
  cached_[1] = std::move(cached_[0]);
  cached_[0] = {.index = index, .block = std::make_shared<const Block>(MakeBlock(index))};
  return cached_[0].block;
}

Blend::Place Blend::At(int64_t position) const {
  PHOTON_CHECK(position >= 0) << position;
  if (parts_.size() == 1) return {.source = 0, .rank = position};
  const std::shared_ptr<const Block> block = BlockAt(position / block_);
  const int64_t at = position % block_;
  const int source = block->source[at];
  return {.source = source, .rank = block->begin[source] + block->rank[at]};
}

int64_t Blend::Count(int source, int64_t position) const {
  if (parts_.size() == 1) return position;
  const std::shared_ptr<const Block> block = BlockAt(position / block_);
  const auto begin = block->source.begin();
  return block->begin[source] + std::count(begin, begin + position % block_, source);
}

int64_t Blend::PositionOf(int source, int64_t rank) const {
  PHOTON_CHECK(rank >= 0) << rank;
  if (parts_.size() == 1) return rank;
  // Its window's first position; the sample itself is there or later.
  int64_t index = static_cast<int64_t>(static_cast<Wide>(rank) * sum_ / parts_[source] / block_);
  while (CountsAtBlock(index + 1)[source] <= rank) ++index;
  const std::shared_ptr<const Block> block = BlockAt(index);
  const auto wanted = static_cast<int32_t>(rank - block->begin[source]);
  int64_t at = 0;
  while (block->source[at] != source || block->rank[at] != wanted) ++at;
  return index * block_ + at;
}

}  // namespace photon
