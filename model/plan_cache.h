// Index tensors that follow from shapes alone: which row goes where when windows are assembled and read. They are made
// once for each kind of window and kept, as the rotary table is.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/context.h"
#include "model/stack.h"

namespace photon {

// Local windows of `units` units: R prefix vectors, then the first `contents` contents of each unit.
struct WindowPlan {
  AttentionPlan attention;  // batch = units, length = R + contents
  Tensor assemble;  // i32: row of the contents table [units * stride, D], or -1 - row of the prefixes [units R, D]
  Tensor read_out;  // i32 [units * (contents + 1)]: window rows from the last prefix position on
  Tensor last;      // i32 [units]: the last row of each window
};

// Any thread. A tensor that was handed out stays where it is and as it is (recorded operations go on reading it): where
// more units are wanted than before, a longer one is made beside it.
class PlanCache {
 public:
  // `sequences` causal sequences of `length` rows, without a mask; the first row of each is at position `first`.
  AttentionPlan Causal(const Context& context, int64_t sequences, int64_t length, int64_t first = 0) const;
  // `stride` = contents per unit in the contents table, at least `contents`.
  WindowPlan Windows(const Context& context, int64_t units, int64_t prefix, int64_t contents, int64_t stride) const;
  // i32 [units * (columns + 1)]: appends one column: row g*columns + j of a table `a`, then -1 - g of a table `b`.
  Tensor AppendColumn(const Context& context, int64_t units, int64_t columns) const;
  // Rows of `sequences` sequences in `spans` spans of `length` rows lie sequence by sequence, or, gathered from the
  // ranks that hold the spans, span by span and in each sequence by sequence. i32 [all rows]: for every row of the
  // one order, where it lies in the other. `first_spans`: of each sequence only so many spans, the first ones.
  Tensor BySequence(const Context& context, int64_t sequences, int64_t first_spans, int64_t length) const;
  Tensor BySpan(const Context& context, int64_t sequences, int64_t spans, int64_t length) const;
  // i32 [sequences * length]: the rows of span `index`, of rows that lie sequence by sequence.
  Tensor OfSpan(const Context& context, int64_t sequences, int64_t index, int64_t spans, int64_t length) const;
  // i32 [sequences]: the last row of each sequence.
  Tensor LastOfEach(const Context& context, int64_t sequences, int64_t length) const;
  // i32 [1 + n]: -1, then 0 .. n - 1.
  Tensor AfterOne(const Context& context, int64_t n) const;

 private:
  enum Kind : int64_t {
    kPositions,
    kAssemble,
    kReadOut,
    kLast,
    kAppendColumn,
    kBySequence,
    kBySpan,
    kOfSpan,
    kAfterOne
  };
  using Key = std::array<int64_t, 5>;  // a kind and what else its entries depend on
  // The first `units` times `per_unit` entries of the tensor of `key`: entry i of unit g is entry(g, i).
  Tensor Get(const Context& context, const Key& key, int64_t units, int64_t per_unit,
             const std::function<int64_t(int64_t g, int64_t i)>& entry) const;

  mutable absl::Mutex mutex_;
  mutable absl::flat_hash_map<Key, std::vector<Tensor>> tensors_ ABSL_GUARDED_BY(mutex_);  // ever longer ones
};

}  // namespace photon
