#include "inference/decoding_state.h"

#include <numeric>

#include "core/ops/elementwise.h"

namespace photon {
namespace {

Tensor CopyOf(const Context& context, const Tensor& tensor) {
  if (!tensor.defined()) return Tensor();
  const Tensor copy = context.Empty(tensor.shape(), tensor.dtype());
  ops::Cast(context, tensor, copy);
  return copy;
}

}  // namespace

StateBytes DecodingState::bytes() const {
  StateBytes bytes;
  for (const std::optional<KvCache>& cache : encoders) bytes.context += cache ? cache->bytes() : 0;
  for (const KvCache& window : windows) bytes.windows += window.bytes();
  return bytes;
}

int64_t AllocatedBytes::total() const { return std::accumulate(levels.begin(), levels.end(), windows + rows); }

AllocatedBytes DecodingState::allocated() const {
  AllocatedBytes bytes;
  for (const std::optional<KvCache>& cache : encoders) bytes.levels.push_back(cache ? cache->allocated_bytes() : 0);
  for (const KvCache& window : windows) bytes.windows += window.allocated_bytes();
  const auto add = [&](const Tensor& tensor) {
    if (tensor.defined()) bytes.rows += static_cast<int64_t>(tensor.bytes());
  };
  add(top);
  for (const std::vector<Tensor>* tensors : {&pending, &shifted, &fed_back}) {
    for (const Tensor& tensor : *tensors) add(tensor);
  }
  return bytes;
}

DecodingState DecodingState::Copy(const Context& context) const {
  DecodingState copy;
  copy.tokens = tokens;
  copy.chunk = chunk;
  for (const std::optional<KvCache>& cache : encoders) {
    copy.encoders.push_back(cache ? std::optional<KvCache>(cache->Copy()) : std::nullopt);
  }
  for (const KvCache& window : windows) copy.windows.push_back(window.Copy());
  for (const Tensor& rows : pending) copy.pending.push_back(CopyOf(context, rows));
  copy.top = CopyOf(context, top);
  for (const Tensor& row : shifted) copy.shifted.push_back(CopyOf(context, row));
  for (const Tensor& row : fed_back) copy.fed_back.push_back(CopyOf(context, row));
  return copy;
}

}  // namespace photon
