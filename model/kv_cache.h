// Keys and values that one stack has computed for one sequence (or one local window).
//
// All layers lie in one block, so that one address tells an operation where they are (core/ops/cached_attention.h). The
// host knows how many positions are held, and the device is told by an upload: nothing is read back.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "core/context.h"

namespace photon {

// Positions by which a cache grows. The copy of what it held costs as much as two more positions' attention, so that
// decoding loses 2 / kCacheSlab; what is allocated in vain is half a slab a sequence.
inline constexpr int64_t kCacheSlab = 64;
int64_t RoomFor(int64_t positions);  // in whole slabs

class KvCache {
 public:
  // Has room for `capacity` positions, and grows beyond by slabs.
  KvCache(const Context& context, int layers, int kv_heads, int64_t head_dim, DType dtype, int64_t capacity);

  // Copies would share the memory, and two sequences write the same rows: Copy() says that it costs memory.
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&&) = default;
  // The first positions, at most those held, in memory of their own.
  KvCache Copy(int64_t positions) const;
  KvCache Copy() const { return Copy(length_); }

  int64_t length() const { return length_; }  // positions held: also the next position's index, for RoPE
  int64_t capacity() const { return block_.dim(2); }
  int64_t bytes() const { return BytesOf(length_); }  // of the positions held, K and V, all layers
  int64_t allocated_bytes() const { return BytesOf(capacity()); }
  int64_t BytesOf(int64_t positions) const;
  const Tensor& block() const { return block_; }  // [layers, 2 (keys, values), capacity, kv_heads * head_dim]

  // Makes room for more positions and counts them as held. The caller has them written (ops::AppendToCaches) before
  // they are read, and before this is called again, should it have to grow.
  void Append(int64_t positions);
  void Clear() { length_ = 0; }  // forgets all positions, keeps the memory

 private:
  KvCache(const Context* context, Tensor block, int64_t head_dim)
      : context_(context), head_dim_(head_dim), block_(std::move(block)) {}
  Tensor NewBlock(int64_t capacity) const;

  const Context* context_;
  int64_t head_dim_;
  int64_t length_ = 0;
  Tensor block_;
};

// What ops::CacheTable lists of caches that are given more positions.
struct CacheLists {
  std::vector<int64_t> bases, capacities;
  std::vector<int32_t> lengths;  // before
  int64_t longest = 0;           // after
};
// Appends `positions` to each of `caches`.
CacheLists AppendToEach(absl::Span<KvCache* const> caches, int64_t positions);

}  // namespace photon
