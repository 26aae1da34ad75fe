// Index tensors that tell which row goes where: they follow from shapes and from how documents lie in a batch.
#pragma once

#include "configs/model.pb.h"
#include "core/context.h"
#include "core/token_batch.h"
#include "model/stack.h"

namespace photon {

// Attention of the encoder at `level` (0: the flat model's stack over the tokens): causal over the units of a sequence,
// confined to documents, and with GROUP scope below the top to the units of one level-(l+1) unit.
AttentionPlan EncoderPlan(const Context& context, const ModelConfig& config, const TokenBatch& batch, int level);

// The shift of level-`level` units: i32 [sequences * M_l], the row of the unit before, or -1 (the start latent) at the
// first unit of a document.
Tensor ShiftIndex(const Context& context, const ModelConfig& config, const TokenBatch& batch, int level);

// Local windows of `units` units: R prefix vectors, then the first `contents` contents of each unit.
struct WindowPlan {
  AttentionPlan attention;  // batch = units, length = R + contents
  Tensor assemble;  // i32: row of the contents table [units * stride, D], or -1 - row of the prefixes [units R, D]
  Tensor read_out;  // i32 [units * (contents + 1)]: window rows from the last prefix position on
  Tensor last;      // i32 [units]: the last row of each window
};
// `stride` = contents per unit in the contents table, at least `contents`.
WindowPlan MakeWindowPlan(const Context& context, int64_t units, int64_t prefix, int64_t contents, int64_t stride);

// i32 [units * (columns + 1)]: appends one column: row g*columns + j of a table `a`, then -1 - g of a table `b`.
Tensor AppendColumnIndex(const Context& context, int64_t units, int64_t columns);

}  // namespace photon
