// What the forward and the backward pass over long streams share: blocks of rows and keys, and who sees whom.
//
// Flash attention (Dao et al. 2022; 2023): the scores exist a block at a time. Blocks of keys lie at multiples of
// kBlock from key 0, so a row's sums are taken in one order whatever else is computed beside it, and a row computed
// alone against a cache has the bits it has in a longer call.
#pragma once

#include "core/cpu/attention_rows.h"

namespace photon::cpu {

inline constexpr int kBlock = 64;  // rows of queries, and keys: scores, keys and values of a block fit the L1 cache

// One head of one sequence. Row r of the queries is position offset + r and sees keys first(r) .. offset + r.
struct StreamMask {
  const int32_t* first = nullptr;  // null: 0 everywhere
  int64_t offset = 0;

  int64_t begin(int64_t row) const { return first == nullptr ? 0 : first[row]; }
  int64_t end(int64_t row) const { return offset + row + 1; }
  // The smallest begin and the largest one among rows [row, row + count).
  std::pair<int64_t, int64_t> Begins(int64_t row, int64_t count) const {
    if (first == nullptr) return {0, 0};
    const auto [low, high] = std::minmax_element(first + row, first + row + count);
    return {*low, *high};
  }
};

// Lanes key, key + 1, .. that lie in [begin, end).
template <typename A>
inline typename VecOf<A>::mask Visible(int64_t key, int64_t begin, int64_t end) {
  using Mask = typename VecOf<A>::mask;
  using Lane = std::conditional_t<std::is_same_v<A, float>, int32_t, int64_t>;
  Mask lane;
  for (int i = 0; i < kLanes<A>; ++i) lane[i] = i;
  const auto limit = [&](int64_t to) {
    return static_cast<Lane>(std::clamp<int64_t>(to - key, 0, kLanes<A>)) - Mask{};
  };
  return (lane >= limit(begin)) & (lane < limit(end));
}

// Heads of `rows` queries and `keys` keys that a thread must have to be worth waking: some 2^20 multiplications.
inline int64_t StreamGrain(int64_t rows, int64_t keys, int64_t head_dim) {
  return (int64_t{1} << 20) / (rows * keys * head_dim) + 1;
}

inline int64_t Blocks(int64_t rows) { return (rows + kBlock - 1) / kBlock; }

// Elements of a matrix of whole blocks of rows, or of blocks transposed one by one.
template <typename A>
int64_t BlockedElements(int64_t rows, int64_t columns) {
  return Blocks(rows) * kBlock * PaddedColumns<A>(columns);
}

// Transposes each block of rows: block b is [columns padded, kBlock] from to + b * kBlock * PaddedColumns(columns).
template <typename A>
void TransposeBlocks(Panel<const A> from, int64_t rows, int64_t columns, A* to) {
  for (int64_t b = 0; b < Blocks(rows); ++b) {
    TransposeRows<A>({from.data + b * kBlock * from.stride, from.stride}, std::min<int64_t>(kBlock, rows - b * kBlock),
                     columns, {to + b * kBlock * PaddedColumns<A>(columns), kBlock});
  }
}

}  // namespace photon::cpu
