#include "model/kv_cache.h"

#include <algorithm>

#include "core/ops/elementwise.h"

namespace photon {

KvCache::KvCache(const Context& context, int layers, int64_t width, DType dtype, int64_t capacity)
    : context_(&context), width_(width), dtype_(dtype), keys_(layers), values_(layers) {
  Reserve(std::max<int64_t>(capacity, 1));
}

KvCache KvCache::Copy() const {
  KvCache copy(*context_, static_cast<int>(keys_.size()), width_, dtype_, capacity_);
  for (size_t layer = 0; length_ > 0 && layer < keys_.size(); ++layer) {
    ops::Cast(*context_, keys_[layer].Rows(0, length_), copy.keys_[layer].Rows(0, length_));
    ops::Cast(*context_, values_[layer].Rows(0, length_), copy.values_[layer].Rows(0, length_));
  }
  copy.length_ = length_;
  return copy;
}

int64_t KvCache::bytes() const {
  return 2 * static_cast<int64_t>(keys_.size()) * length_ * width_ * static_cast<int64_t>(ByteSize(dtype_));
}

void KvCache::Write(int layer, const Tensor& k, const Tensor& v) {
  const int64_t end = length_ + k.dim(0);
  if (end > capacity_) Reserve(std::max(end, 2 * capacity_));
  ops::Cast(*context_, k, keys_[layer].Rows(length_, end));
  ops::Cast(*context_, v, values_[layer].Rows(length_, end));
}

void KvCache::Reserve(int64_t positions) {
  for (std::vector<Tensor>* side : {&keys_, &values_}) {
    for (Tensor& tensor : *side) {
      Tensor larger = context_->Empty({positions, width_}, dtype_);
      // All rows written so far, those of a step that is under way included.
      if (tensor.defined()) ops::Cast(*context_, tensor, larger.Rows(0, capacity_));
      tensor = std::move(larger);
    }
  }
  capacity_ = positions;
}

}  // namespace photon
