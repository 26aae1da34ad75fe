// How a cache lies in memory on the CPU (core/ops/cached_attention.h leaves that to the device).
//
// Positions lie in blocks, and in a block head by head, so that what one head reads is one piece: with the other heads'
// columns in between, the hardware does not see what comes next. A head's values are rows. Its keys are transposed:
// scores of a vector of positions then need neither shuffles nor sums over lanes, which cost several times what the
// arithmetic does. In bf16 two columns share a lane: a shift and a mask part them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/cpu/attention_stream.h"
#include "core/cpu/simd.h"

namespace photon::cpu {

// One layer's keys, then its values, each [capacity, width], an even number of columns a head. Block i has positions
// [i n, min((i + 1) n, capacity)), n = kPositions, m of them. Column c of head h at position j of the block is, in it:
//   values  h head_dim m + j head_dim + c
//   keys    h head_dim m + (c / kPack m + j) kPack + c % kPack
template <typename T>
struct CacheBlocks {
  using A = AccumulateType<std::remove_const_t<T>>;
  static constexpr int64_t kPositions = kBlock;
  static constexpr int64_t kPack = sizeof(A) / sizeof(T);

  // Of the block that begins at `position`: its size, and what a head has in it, whose first column is `column`.
  int64_t Positions(int64_t position) const { return std::min(kPositions, capacity - position); }
  T* Keys(int64_t position, int64_t column) const { return keys + position * width + column * Positions(position); }
  T* Values(int64_t position, int64_t column) const { return Keys(position, column) + capacity * width; }

  // Writes a position's keys and values [width].
  void Write(int64_t position, const T* key, const T* value) const {
    const int64_t j = position % kPositions, begin = position - j, m = Positions(begin);
    T* to = Keys(begin, 0) + j * kPack;
    for (int64_t c = 0; c < width; c += kPack, to += m * kPack) std::copy_n(key + c, kPack, to);
    for (int64_t c = 0; c < width; c += head_dim) std::copy_n(value + c, head_dim, Values(begin, c) + j * head_dim);
  }

  // Copies the block that begins at `begin`: its first `count` positions, or all of it where both have as many.
  void CopyBlockTo(const CacheBlocks<std::remove_const_t<T>>& to, int64_t begin, int64_t count) const {
    const int64_t m = Positions(begin), to_m = to.Positions(begin);
    // A side of the block, whose pieces have `step` columns.
    const auto copy = [&](const T* source, auto* target, int64_t step) {
      if (m == to_m) {
        std::copy_n(source, m * width, target);
        return;
      }
      for (int64_t c = 0; c < width; c += step) std::copy_n(source + c * m, count * step, target + c * to_m);
    };
    copy(Keys(begin, 0), to.Keys(begin, 0), kPack);
    copy(Values(begin, 0), to.Values(begin, 0), head_dim);
  }

  T* keys;
  int64_t capacity, width, head_dim;
};

// Calls f(column, x) for each of a head's columns at a vector of positions of its keys, from where the first column has
// the first of them, `m` as above.
template <typename T, typename Lanes, typename F>
inline void ForEachColumn(const T* keys, int64_t m, int64_t columns, Lanes lanes, F&& f) {
  for (int64_t c = 0; c < columns; c += CacheBlocks<T>::kPack) {
    if constexpr (CacheBlocks<T>::kPack == 2) {
      const VecF pairs = LoadPairs(keys + c * m, lanes);
      f(c, EvenElements(pairs));
      f(c + 1, OddElements(pairs));
    } else {
      f(c, Load(keys + c * m, lanes));
    }
  }
}

}  // namespace photon::cpu
