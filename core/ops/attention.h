// Causal softmax attention: over long coarse streams and over batches of short windows. Against caches:
// core/ops/cached_attention.h.
#pragma once

#include "core/context.h"
#include "core/tape.h"

namespace photon::ops {

// `batch` independent sequences of `length` rows each lie one after the other. Row i of a sequence sees its keys
// first_key[i] .. offset + i: causal, and confined to a document where first_key says so. Keys are the sequence's own
// rows; or, where `keys` says so, a longer stretch of which the rows are those from `offset` on. Keys behind
// offset + length - 1, which nobody sees, are not read.
//
// A row's result has the same bits in a call of its whole sequence and in one of a part of it, as long as both have
// more than 16 keys a sequence: shorter sequences whose keys are their own rows go through kernels of their own.
struct AttentionShape {
  int64_t batch = 1;
  int64_t length = 1;
  int64_t keys = 0;    // of a sequence; 0: length
  int64_t offset = 0;  // at most keys - length
  int heads = 1;
  int kv_heads = 1;  // query head h reads key/value head floor(h * kv_heads / heads)
  int64_t head_dim = 1;
  // i32 [batch * length], numbers of keys of the sequence, never less than those of rows before it; undefined: all 0.
  Tensor first_key;

  int64_t key_count() const { return keys > 0 ? keys : length; }
  int64_t seen_keys() const { return offset + length; }  // by any row
  bool keys_are_rows() const { return key_count() == length; }
};

// out = softmax(q k^T / sqrt(d)) v, softmax in f32 (f64).
//   q, out [batch * length, heads * d]; k, v [batch * keys, kv_heads * d]: one floating dtype, rows may be strided.
//   lse [heads, batch * length] f32 (f64): log of the softmax's denominator, for the backward pass; or undefined.
using AttentionForwardFn = void(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                                const AttentionShape& shape, const Tensor& out, const Tensor& lse);
// dq, dk, dv overwritten; shapes and types of q, k, v. Keys that no row sees get zeros.
using AttentionBackwardFn = void(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k,
                                 const Tensor& v, const Tensor& out, const Tensor& lse, const AttentionShape& shape,
                                 const Tensor& dq, const Tensor& dk, const Tensor& dv);

AttentionForwardFn AttentionForward;
AttentionBackwardFn AttentionBackward;

// Var-level, with the rotation of q and k inside (one node, no copies): qkv [N, (heads + 2 kv_heads) d] is *rotated in
// place* (its producer, a linear layer, does not need its output again); returns [N, heads * d].
//   positions i32 [N] and table as in core/ops/rope.h.
Var RotaryAttention(Tape& tape, const Var& qkv, const AttentionShape& shape, const Tensor& positions,
                    const Tensor& rope_table);

}  // namespace photon::ops
