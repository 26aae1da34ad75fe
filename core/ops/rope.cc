#include "core/ops/rope.h"

#include <cmath>
#include <vector>

#include "core/backend.h"

namespace photon::ops {

void Rope(const Context& context, const Tensor& x, int64_t head_dim, const Tensor& positions, const Tensor& table,
          bool inverse) {
  const bool floating = x.dtype() == DType::kF64 || x.dtype() == DType::kF32 || x.dtype() == DType::kBF16;
  PHOTON_CHECK(x.rank() == 2 && x.stride(1) == 1 && floating && head_dim >= 2 && head_dim % 2 == 0 &&
               x.dim(1) % head_dim == 0 && positions.shape() == Shape{x.dim(0)} && positions.dtype() == DType::kI32 &&
               positions.contiguous() && table.rank() == 2 && table.dim(1) == head_dim && table.contiguous() &&
               table.dtype() == (x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32))
      << "[rope] x " << x.ToString() << ", head_dim " << head_dim << ", positions " << positions.ToString()
      << ", table " << table.ToString();
  if (x.elements() > 0) context.backend().rope(context, x, head_dim, positions, table, inverse);
}

Tensor RopeTable(const Context& context, int64_t positions, int64_t head_dim, double theta, DType dtype) {
  PHOTON_CHECK(head_dim >= 2 && head_dim % 2 == 0 && (dtype == DType::kF32 || dtype == DType::kF64))
      << "[rope_table] head_dim " << head_dim << ", dtype " << Name(dtype);
  const int64_t half = head_dim / 2;
  const auto fill = [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> table(positions * head_dim);
    for (int64_t i = 0; i < half; ++i) {
      const double w = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      for (int64_t p = 0; p < positions; ++p) {
        table[p * head_dim + i] = static_cast<T>(std::cos(static_cast<double>(p) * w));
        table[p * head_dim + half + i] = static_cast<T>(std::sin(static_cast<double>(p) * w));
      }
    }
    return context.FromHost(table.data(), {positions, head_dim}, dtype);
  };
  return dtype == DType::kF64 ? fill(double{}) : fill(float{});
}

}  // namespace photon::ops
