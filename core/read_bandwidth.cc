#include "core/read_bandwidth.h"

#include <algorithm>

#include "core/check.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"
#include "core/ops/reduce.h"
#include "core/time.h"

namespace photon {
namespace {

// Of one run; `count` at a time, so that what a launch takes drops out.
template <typename F>
double BestSeconds(const Context& context, int count, F&& run) {
  double best = 1e30;
  const double begin = Now();
  do {
    const double start = Now();
    for (int i = 0; i < count; ++i) run();
    context.Synchronize();
    best = std::min(best, (Now() - start) / count);
  } while (Now() - begin < 0.3);
  return best;
}

void ReadOnCpu(const Tensor& buffer) {
  const float* data = buffer.data<float>();
  float sums = 0;
  cpu::ParallelFor(buffer.elements() / 64, 1, [&](int64_t begin, int64_t end) {
    cpu::VecF sum[4] = {};
    for (const float* p = data + begin * 64; p < data + end * 64; p += 64) {
      for (int i = 0; i < 4; ++i) sum[i] += cpu::Load(p + 16 * i);
    }
    const float total = cpu::Sum<float>(sum[0] + sum[1] + sum[2] + sum[3]);
#pragma omp atomic
    sums += total;
  });
  PHOTON_CHECK_EQ(sums, 0);  // and the sums are used
}

}  // namespace

double MeasureReadBandwidth(const Context& context) {
  const bool cpu = context.device().type == DeviceType::kCpu;
  const Tensor buffer = context.Zeros({(cpu ? 256 : 1024) << 18}, DType::kF32);  // MiB
  const Tensor sum = context.Zeros({1}, DType::kF64);
  const double seconds =
      BestSeconds(context, cpu ? 1 : 8, [&] { cpu ? ReadOnCpu(buffer) : ops::SumSquares(context, buffer, sum); });
  return static_cast<double>(buffer.bytes()) / seconds;
}

}  // namespace photon
