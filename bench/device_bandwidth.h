// A device's bound of everything that is read once, measured on it.
#pragma once

#include "bench/read_bandwidth.h"
#include "core/ops/memory.h"
#include "core/ops/reduce.h"

namespace photon {

// Bytes a second that the context's device reads from its memory.
inline double DeviceReadBandwidth(const Context& context) {
  if (context.device().type == DeviceType::kCpu) return ReadBandwidth(context);
  constexpr int64_t kElements = int64_t{256} << 20;  // 1 GiB, many times a GPU's caches
  const Tensor buffer = context.Zeros({kElements}, DType::kF32), sum = context.Zeros({1}, DType::kF64);
  const double seconds = BestSeconds(0.3, [&] {
    ops::SumSquares(context, buffer, sum);
    context.Synchronize();
  });
  return static_cast<double>(buffer.bytes()) / seconds;
}

}  // namespace photon
