// The running softmax of attention over blocks of keys (Milakov and Gimelshein 2018), shared by long streams and
// caches.
#pragma once

#include <cmath>
#include <limits>

#include "core/cpu/attention_stream.h"

namespace photon::cpu {

// The softmax of a block of rows so far.
template <typename A>
struct Running {
  explicit Running(int rows) {
    std::fill(largest, largest + rows, -std::numeric_limits<A>::infinity());
    std::fill(&total[0][0], &total[0][0] + rows * kLanes<A>, A(0));
  }
  alignas(64) A largest[kBlock];
  alignas(64) A total[kBlock][kLanes<A>];  // sums of exp(score - largest) by lane
};

// The same of some rows of a block, from one on.
template <typename A>
struct RunningRows {
  RunningRows(Running<A>& running, int row) : largest(running.largest + row), total(running.total + row) {}
  A* largest;
  A (*total)[kLanes<A>];
};

// Replaces the scores of `count` rows by their weights and rescales what was summed before. `row`: of the block.
// `masked`: some key of the block is hidden from some row; row i sees keys mask.begin(i) .. mask.end(i) - 1.
template <typename A, typename Mask, typename Rows>
void SoftmaxTile(const Mask& mask, int64_t first_row, int row, int count, int64_t key, int vectors, bool masked,
                 A* scores, Rows& running, Panel<A> out, int64_t columns) {
  constexpr int n = kLanes<A>;
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  alignas(64) A shrink[kTileRows] = {};
  for (int r = 0; r < count; ++r) {
    A* score = scores + r * kBlock;
    const int64_t i = first_row + row + r;
    Vec<A> largest = Broadcast(kNone);
    for (int x = 0; x < vectors; ++x) {
      Vec<A> s = Load(score + x * n);
      if (masked) {
        s = Visible<A>(key + x * n, mask.begin(i), mask.end(i)) ? s : Broadcast(kNone);
        Store(score + x * n, s);
      }
      largest = Maximum(largest, s);
    }
    const A before = running.largest[row + r];
    const A now = std::max(before, Max<A>(largest));
    running.largest[row + r] = now;
    shrink[r] = before == now ? A(1) : std::exp(before - now);
  }
  for (int r = 0; r < count; ++r) {
    A* score = scores + r * kBlock;
    const int64_t i = first_row + row + r;
    if (masked && running.largest[row + r] == kNone) {  // nothing seen yet
      std::fill(score, score + vectors * n, A(0));
      continue;
    }
    const Vec<A> largest = Broadcast(running.largest[row + r]);
    Vec<A> total = {};
    for (int x = 0; x < vectors; ++x) {
      Vec<A> weight = Exp(Load(score + x * n) - largest);
      if (masked) weight = Visible<A>(key + x * n, mask.begin(i), mask.end(i)) ? weight : Vec<A>{};
      Store(score + x * n, weight);
      total += weight;
    }
    // In one expression: whether a product and a later sum become one rounding is the compiler's choice.
    Store(running.total[row + r], Load(running.total[row + r]) * shrink[r] + total);
    if (shrink[r] == 1) continue;
    A* o = out.data + r * out.stride;
    for (int64_t c = 0; c < columns; c += n) Store(o + c, Load(o + c) * shrink[r]);
  }
}

// Divides a row of weighted values by the softmax's denominator, which it returns.
template <typename A>
A NormalizeRow(const Running<A>& running, int row, A* out, int64_t columns) {
  const A total = Sum<A>(Load(running.total[row]));
  for (int64_t c = 0; c < columns; c += kLanes<A>) Store(out + c, Load(out + c) * (1 / total));
  return total;
}

}  // namespace photon::cpu
