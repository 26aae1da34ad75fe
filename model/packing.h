// Stretches of one long tensor, each at a whole cache line, and once it is there, views of it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"

namespace photon {

class Packing {
 public:
  // Where the `n` elements begin of which `view` will be a view.
  int64_t Add(int64_t n, Tensor* view) {
    constexpr int64_t kAlignment = 16;  // elements, of 4 bytes at least
    views_.push_back({total_, n, view});
    total_ += (n + kAlignment - 1) / kAlignment * kAlignment;
    return views_.back().begin;
  }
  Tensor Allocate(const Context& context, DType dtype) const {
    const Tensor whole = context.Empty({total_}, dtype);
    for (const auto& [begin, n, view] : views_) *view = whole.Rows(begin, begin + n);
    return whole;
  }

 private:
  struct View {
    int64_t begin, n;
    Tensor* view;
  };
  int64_t total_ = 0;
  std::vector<View> views_;
};

}  // namespace photon
