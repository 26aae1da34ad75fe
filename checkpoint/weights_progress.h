// How far a command is that goes through a checkpoint's weights, tensor by tensor.
#pragma once

#include <cstdint>

#include "core/progress.h"
#include "core/shape.h"

namespace photon {

class WeightsProgress {
 public:
  // `tensors` are things with a shape. Counted are bytes of f32, whatever is written.
  template <typename Tensors>
  WeightsProgress(const char* what, const Tensors& tensors, bool shown) : line_(what, shown) {
    for (const auto& tensor : tensors) total_ += Bytes(tensor.shape);
  }
  // All tensors before this one are done.
  void Reached(const Shape& tensor) {
    line_.Update(done_, total_);
    done_ += Bytes(tensor);
  }

 private:
  static int64_t Bytes(const Shape& shape) { return shape.elements() * static_cast<int64_t>(sizeof(float)); }

  ProgressLine line_;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace photon
