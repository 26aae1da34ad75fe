// Operands like given ones, on a real device: so that an operation that was only asked for can be timed.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "core/ops/attention.h"

namespace photon::dry {

// Tensors of the same type, shape and strides; those at one address stay one. Values are 0, and those of integers,
// which stand for rows of other operands, count up to the shortest dimension over and over: rows that exist, and not
// all one.
class Likeness {
 public:
  explicit Likeness(const Context& context) : context_(context) {}

  void Look(const Tensor& t) {
    if (!t.defined()) return;
    for (int d = 0; d < t.rank(); ++d) shortest_ = std::min(shortest_, std::max<int64_t>(t.dim(d), 1));
  }
  template <typename T>
  void Look(const T&) {}

  Tensor Of(const Tensor& t) {
    if (!t.defined()) return t;
    for (const auto& [address, made] : made_) {
      if (address == t.raw() && made.shape() == t.shape() && made.dtype() == t.dtype()) return made;
    }
    Tensor like;
    if (t.contiguous()) {
      like = context_.Zeros(t.shape(), t.dtype());
    } else {  // columns of a wider matrix
      like = context_.Zeros({t.dim(0), t.stride(0)}, t.dtype()).Columns(0, t.dim(1));
    }
    if (t.dtype() == DType::kI32) {
      std::vector<int32_t> values(t.elements());
      for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int32_t>(static_cast<int64_t>(i) % shortest_);
      like = context_.FromHost(values.data(), t.shape(), t.dtype());
    }
    made_.emplace_back(t.raw(), like);
    return like;
  }
  ops::AttentionShape Of(ops::AttentionShape shape) {
    if (shape.first_key.defined()) shape.first_key = context_.Zeros(shape.first_key.shape(), DType::kI32);
    return shape;
  }
  template <typename T>
  T Of(const T& value) {
    return value;
  }

 private:
  const Context& context_;
  int64_t shortest_ = int64_t{1} << 30;
  std::vector<std::pair<const void*, Tensor>> made_;
};

}  // namespace photon::dry
