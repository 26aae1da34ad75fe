#include "model/kv_cache.h"

#include <algorithm>

#include "core/ops/cached_attention.h"

namespace photon {

int64_t RoomFor(int64_t positions) { return (positions + kCacheSlab - 1) / kCacheSlab * kCacheSlab; }

KvCache::KvCache(const Context& context, int layers, int kv_heads, int64_t head_dim, DType dtype, int64_t capacity)
    : KvCache(&context, context.Empty({layers, 2, std::max<int64_t>(capacity, 1), kv_heads * head_dim}, dtype),
              head_dim) {}

Tensor KvCache::NewBlock(int64_t capacity) const {
  return context_->Empty({block_.dim(0), 2, std::max<int64_t>(capacity, 1), block_.dim(3)}, block_.dtype());
}

KvCache KvCache::Copy(int64_t positions) const {
  PHOTON_CHECK(positions >= 0 && positions <= length_) << positions << " of " << length_;
  const int64_t room = positions == length_ ? capacity() : positions;
  KvCache copy(context_, NewBlock(room), head_dim_);
  ops::CopyCache(*context_, block_, copy.block_, positions, head_dim_);
  copy.length_ = positions;
  return copy;
}

int64_t KvCache::BytesOf(int64_t positions) const {
  return 2 * block_.dim(0) * positions * block_.dim(3) * static_cast<int64_t>(ByteSize(block_.dtype()));
}

void KvCache::Append(int64_t positions) {
  const int64_t end = length_ + positions;
  if (end > capacity()) {
    Tensor larger = NewBlock(RoomFor(end));
    ops::CopyCache(*context_, block_, larger, length_, head_dim_);
    block_ = std::move(larger);
  }
  length_ = end;
}

CacheLists AppendToEach(absl::Span<KvCache* const> caches, int64_t positions) {
  CacheLists lists;
  for (KvCache* cache : caches) {
    lists.lengths.push_back(static_cast<int32_t>(cache->length()));
    cache->Append(positions);
    lists.bases.push_back(reinterpret_cast<int64_t>(cache->block().raw()));
    lists.capacities.push_back(cache->capacity());
    lists.longest = std::max(lists.longest, cache->length());
  }
  return lists;
}

}  // namespace photon
