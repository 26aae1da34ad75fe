// Which of several sources each sample comes from: exact shares, in O(1) for any sample.
//
// Source i has parts[i] of every `sum of parts` samples: its share w_i. Of the first n samples each source has had n
// w_i within less than one sample, for every n (the best that any order can promise to more than two sources is little
// under one: Tijdeman 1980, "The chairman assignment problem"). That bound is a window for each sample of a source: its
// j-th lies at positions floor((j - 1) / w_i) to ceil(j / w_i) - 1, as in proportionate fairness (Baruah et al. 1996).
//
// The order is made a block of positions at a time, each block on its own, so nothing is replayed from the start:
//   - what each source has had where a block begins is n w_i rounded up or down. Which are rounded up is chosen such
//     that sums over the sources by deadline, and sums over them by release, are rounded to a neighbour too: then every
//     later window and every earlier one can be met (Hall's condition). Such a choice always exists, because it is a
//     flow with whole capacities, and is found as one.
//   - within a block, the earliest deadline goes first, which meets all windows where that is possible at all. Equal
//     deadlines are drawn by (seed, position): that much of the order is free, and shuffled.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/status.h"

namespace photon {

class Blend {
 public:
  static constexpr int64_t kMostParts = int64_t{1} << 40;  // in all
  static constexpr int64_t kRarest = 1 << 20;              // a source has at least one in so many samples

  // parts > 0. kInvalidArgument, with the number of the source, where one has less than 1 / kRarest of their sum.
  static absl::StatusOr<std::shared_ptr<const Blend>> Create(std::vector<int64_t> parts, uint64_t seed);

  int sources() const { return static_cast<int>(parts_.size()); }
  double share(int source) const { return static_cast<double>(parts_[source]) / static_cast<double>(sum_); }
  const std::vector<int64_t>& parts() const { return parts_; }

  struct Place {
    int source = 0;
    int64_t rank = 0;  // how many samples of that source come before
  };
  Place At(int64_t position) const;
  // How many of the first `position` samples are of `source`.
  int64_t Count(int source, int64_t position) const;
  // The position of a source's sample of this rank: At(PositionOf(s, r)) is {s, r}.
  int64_t PositionOf(int source, int64_t rank) const;

 private:
  struct Block {
    std::vector<int64_t> begin;   // [sources]: what each has had where the block begins
    std::vector<int32_t> source;  // [block_]
    std::vector<int32_t> rank;    // [block_]: beyond `begin`
  };
  Blend(std::vector<int64_t> parts, uint64_t seed);
  std::vector<int64_t> CountsAtBlock(int64_t index) const;
  Block MakeBlock(int64_t index) const;
  std::shared_ptr<const Block> BlockAt(int64_t index) const;

  const std::vector<int64_t> parts_;
  const uint64_t seed_;
  int64_t sum_ = 0;
  int64_t block_ = 0;  // positions of a block

  // Batches go through blocks in order; the two last ones serve batches across a border.
  struct Cached {
    int64_t index = -1;
    std::shared_ptr<const Block> block;
  };
  mutable std::mutex mutex_;
  mutable Cached cached_[2];
};

// Weights as whole parts. The decimal numbers are taken as they are written (0.7 and 0.3 are 7 and 3 parts); only where
// that needs more than Blend::kMostParts they are rounded to so many, an error of less than one sample in 10^12. Zeros
// stay zero. Weights are finite, not negative, and not all zero.
std::vector<int64_t> PartsOfWeights(const std::vector<double>& weights);

}  // namespace photon
