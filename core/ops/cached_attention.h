// Attention of new rows over key/value caches: a token of many sequences in decoding, a prompt's rows in a prefill.
//
// Where caches lie and how much they hold is read on the device: the same queued operations serve the next token too.
#pragma once

#include "core/context.h"
#include "core/ops/attention.h"

namespace photon::ops {

// The caches of n sequences, each given `rows` new positions; row i of sequence s is row s * rows + i of an operand. A
// cache is one block [layers, 2 (keys, values), capacity, kv_heads * d]. In what order a layer's elements lie in it is
// the device's own affair: whatever its kernels read fastest.
struct CacheTable {
  Tensor bases;       // i64 [n]: the blocks' addresses
  Tensor capacities;  // i64 [n]
  Tensor lengths;     // i32 [n]: positions held before this call
  int layer = 0;
  int64_t rows = 1;
  // At least every length + rows, and at most the rows of the rotary table: what the work is divided by beforehand. No
  // result depends on it.
  int64_t longest = 1;
};

// Reads a stack's new rows into the caches: qkv [n rows, (heads + 2 kv_heads) d], rows may be strided. Query and key
// heads are rotated in place, as core/ops/rope.h has it, row i of a sequence being position length + i; then keys and
// values are written to the cache at that position. `rope_table` as there. Caches have room: the caller's promise.
using AppendToCachesFn = void(const Context& context, const Tensor& qkv, const CacheTable& table,
                              const AttentionShape& shape, const Tensor& rope_table);
// Causal attention of the new rows, which are in the caches already: row i of a sequence sees its first length + i + 1
// positions. q, out [n rows, heads d] of the caches' type, rows may be strided. `shape` gives heads, kv_heads and
// head_dim. A row's result depends on its own sequence alone, and of finite keys and values not on how many rows came
// with it, bit for bit.
using CachedAttentionFn = void(const Context& context, const Tensor& q, const CacheTable& table,
                               const AttentionShape& shape, const Tensor& out);
// Copies the first positions of a cache to another, `from` and `to` being blocks that have room for them; heads are of
// head_dim columns.
using CopyCacheFn = void(const Context& context, const Tensor& from, const Tensor& to, int64_t positions,
                         int64_t head_dim);
AppendToCachesFn AppendToCaches;
CachedAttentionFn CachedAttention;
CopyCacheFn CopyCache;

}  // namespace photon::ops
