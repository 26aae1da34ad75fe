// Attention inside an encoder whose sequences are cut into spans over ranks (chunk parallelism; SEQUENCE).
#pragma once

#include "configs/parallel.pb.h"
#include "core/ops/attention.h"
#include "model/plan_cache.h"
#include "parallel/communicator.h"

namespace photon {

// As ops::RotaryAttention (qkv [N, (heads + 2 kv_heads) d] is rotated in place; returns [N, heads * d]), where the N
// rows are the span of rank group.rank() of each of plan.shape.batch sequences: queries see the keys of their own span
// and of the spans before it. plan.positions and first_key count from the sequence's beginning.
//
// GATHER: keys and values of all spans are gathered, their gradients reduce-scattered (summed in f32, rounded once).
// PASS_ON: each rank hands on what it has to the next, its own span first, and gradients go back the same way, added
// up, and rounded to the compute type, from rank to rank: half the bytes, since nobody gets keys it does not look at.
// What was received stays until the backward pass.
Var SpanAttention(Tape& tape, const Var& qkv, const ops::AttentionShape& shape, const Tensor& positions,
                  const Tensor& rope_table, Communicator& group, SpanLayout::Kind kind, const PlanCache& plans);

}  // namespace photon
