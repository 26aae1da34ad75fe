#include "model/kv_cache.h"

#include <algorithm>

#include "core/ops/elementwise.h"

namespace photon {

KvCache::KvCache(const Context& context, int layers, int64_t width, DType dtype, int64_t capacity)
    : context_(&context), block_(context.Empty({layers, 2, std::max<int64_t>(capacity, 1), width}, dtype)) {}

KvCache KvCache::Copy() const {
  KvCache copy(*context_, static_cast<int>(block_.dim(0)), block_.dim(3), block_.dtype(), capacity());
  CopyPositionsTo(copy.block_);
  copy.length_ = length_;
  return copy;
}

int64_t KvCache::bytes() const {
  return 2 * block_.dim(0) * length_ * block_.dim(3) * static_cast<int64_t>(ByteSize(block_.dtype()));
}

void KvCache::Append(int64_t positions) {
  const int64_t end = length_ + positions;
  if (end > capacity()) Reserve(std::max(end, 2 * capacity()));
  length_ = end;
}

void KvCache::Reserve(int64_t positions) {
  const Tensor larger = context_->Empty({block_.dim(0), 2, positions, block_.dim(3)}, block_.dtype());
  CopyPositionsTo(larger);
  block_ = larger;
}

void KvCache::CopyPositionsTo(const Tensor& block) const {
  const int64_t sides = 2 * block_.dim(0), width = block_.dim(3);
  const Tensor from = block_.Reshape({sides, capacity() * width});
  const Tensor to = block.Reshape({sides, block.dim(2) * width});
  if (length_ > 0) ops::Cast(*context_, from.Columns(0, length_ * width), to.Columns(0, length_ * width));
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
