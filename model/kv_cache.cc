#include "model/kv_cache.h"

#include <algorithm>

#include "core/ops/elementwise.h"

namespace photon {

int64_t RoomFor(int64_t positions) { return (positions + kCacheSlab - 1) / kCacheSlab * kCacheSlab; }

KvCache::KvCache(const Context& context, int layers, int64_t width, DType dtype, int64_t capacity)
    : context_(&context), block_(context.Empty({layers, 2, std::max<int64_t>(capacity, 1), width}, dtype)) {}

KvCache KvCache::Copy(int64_t positions) const {
  PHOTON_CHECK(positions >= 0 && positions <= length_) << positions << " of " << length_;
  const int64_t room = positions == length_ ? capacity() : positions;
  KvCache copy(*context_, static_cast<int>(block_.dim(0)), block_.dim(3), block_.dtype(), room);
  CopyTo(copy.block_, positions);
  copy.length_ = positions;
  return copy;
}

int64_t KvCache::BytesOf(int64_t positions) const {
  return 2 * block_.dim(0) * positions * block_.dim(3) * static_cast<int64_t>(ByteSize(block_.dtype()));
}

void KvCache::Append(int64_t positions) {
  const int64_t end = length_ + positions;
  if (end > capacity()) Reserve(RoomFor(end));
  length_ = end;
}

void KvCache::Reserve(int64_t positions) {
  const Tensor larger = context_->Empty({block_.dim(0), 2, positions, block_.dim(3)}, block_.dtype());
  CopyTo(larger, length_);
  block_ = larger;
}

void KvCache::CopyTo(const Tensor& block, int64_t positions) const {
  const int64_t sides = 2 * block_.dim(0), width = block_.dim(3);
  const Tensor from = block_.Reshape({sides, capacity() * width});
  const Tensor to = block.Reshape({sides, block.dim(2) * width});
  if (positions > 0) ops::Cast(*context_, from.Columns(0, positions * width), to.Columns(0, positions * width));
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
