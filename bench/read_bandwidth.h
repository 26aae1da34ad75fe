// The machine's bound of everything that is read once, such as weights in decoding.
#pragma once

#include <algorithm>

#include "bench/timing.h"
#include "core/context.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon {

// Bytes a second that all threads together read from memory: 256 MiB, far more than the caches hold; best of several.
inline double ReadBandwidth(const Context& context) {
  const Tensor buffer = context.Zeros({64 << 20}, DType::kF32);
  const float* data = buffer.data<float>();
  float sums = 0;
  const double seconds = BestSeconds(0.3, [&] {
    cpu::ParallelFor(buffer.elements() / 64, 1, [&](int64_t begin, int64_t end) {
      cpu::VecF sum[4] = {};
      for (const float* p = data + begin * 64; p < data + end * 64; p += 64) {
        for (int i = 0; i < 4; ++i) sum[i] += cpu::Load(p + 16 * i);
      }
      const float total = cpu::Sum<float>(sum[0] + sum[1] + sum[2] + sum[3]);
#pragma omp atomic
      sums += total;
    });
  });
  PHOTON_CHECK_EQ(sums, 0);
  return static_cast<double>(buffer.bytes()) / seconds;
}

}  // namespace photon
