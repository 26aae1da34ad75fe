#include <cmath>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

template <typename A, typename Delta, typename Y>
struct ForwardRow {
  const A* x;
  const Delta* delta;  // null: sum = x
  const A* weight;
  A* sum;
  Y* y;

  // Returns 1 / rms. The second pass finds the row in the first-level cache.
  A Run(int64_t width, A eps) const {
    Vec<A> squares{};
    ForEachVector<A>(width, [&](int64_t j, auto lanes) {
      Vec<A> v = Load(x + j, lanes);
      if (delta != nullptr) {
        v += Load(delta + j, lanes);
        Store(sum + j, v, lanes);
      }
      squares += v * v;
    });
    const A rstd = 1 / std::sqrt(Sum<A>(squares) / static_cast<A>(width) + eps);
    const A* row = delta != nullptr ? sum : x;
    ForEachVector<A>(width, [&](int64_t j, auto lanes) {
      Store(y + j, Load(row + j, lanes) * rstd * Load(weight + j, lanes), lanes);
    });
    return rstd;
  }
};

template <typename A, typename Delta, typename Y>
void Forward(const Tensor& x, const Tensor& delta, const Tensor& weight, double eps, const Tensor& sum, const Tensor& y,
             const Tensor& rstd) {
  const int64_t width = x.dim(1);
  const Delta* deltas = DataOrNull<Delta>(delta);
  A* sums = DataOrNull<A>(sum);
  A* rstds = DataOrNull<A>(rstd);
  ParallelFor(x.dim(0), RowGrain(width), [&, x = x.data<A>(), y = y.data<Y>()](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i * width;
      const ForwardRow<A, Delta, Y> row = {x + at, deltas != nullptr ? deltas + at : nullptr, weight.data<A>(),
                                           sums != nullptr ? sums + at : nullptr, y + at};
      const A r = row.Run(width, static_cast<A>(eps));
      if (rstds != nullptr) rstds[i] = r;
    }
  });
}

// With n = x rstd, the normalized row: dweight += dy n; dx = dsum + rstd (dy w - n mean(dy w n)).
template <typename A, typename Dy, typename Ddelta>
struct BackwardRow {
  const Dy* dy;
  const A* x;
  const A* weight;
  const A* dsum;   // may be null
  A* dx;           // may be dsum
  Ddelta* ddelta;  // may be null
  A* dweight;      // may be null

  void Run(int64_t width, A rstd) const {
    Vec<A> products{};
    ForEachVector<A>(width, [&](int64_t j, auto lanes) {
      const Vec<A> gradient = Load(dy + j, lanes) * (Load(x + j, lanes) * rstd);
      products += gradient * Load(weight + j, lanes);
      if (dweight != nullptr) Store(dweight + j, Load(dweight + j, lanes) + gradient, lanes);
    });
    const A mean = Sum<A>(products) / static_cast<A>(width);
    ForEachVector<A>(width, [&](int64_t j, auto lanes) {
      Vec<A> d = rstd * (Load(dy + j, lanes) * Load(weight + j, lanes) - Load(x + j, lanes) * rstd * mean);
      if (dsum != nullptr) d += Load(dsum + j, lanes);
      Store(dx + j, d, lanes);
      if (ddelta != nullptr) Store(ddelta + j, d, lanes);
    });
  }
};

// dweight += the sum of its parts [blocks, W], first to last.
template <typename A>
void AddParts(const Tensor& parts, A* dweight) {
  const int64_t width = parts.dim(1);
  for (int64_t b = 0; b < parts.dim(0); ++b) {
    const A* part = parts.data<A>() + b * width;
    ForEachVector<A>(width, [&](int64_t j, auto lanes) {
      Store(dweight + j, Load(dweight + j, lanes) + Load(part + j, lanes), lanes);
    });
  }
}

// dweight is summed within blocks of this many rows, then over the blocks: an order that no thread count changes.
constexpr int64_t kBlockRows = 64;

template <typename A, typename Dy, typename Ddelta>
void Backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& rstd,
              const Tensor& dsum, const Tensor& dx, const Tensor& ddelta, const Tensor& dweight) {
  const int64_t rows = x.dim(0), width = x.dim(1);
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  Tensor parts;
  if (dweight.defined()) parts = context.Zeros({blocks, width}, x.dtype());
  const A* dsums = DataOrNull<A>(dsum);
  Ddelta* ddeltas = DataOrNull<Ddelta>(ddelta);
  A* part_data = DataOrNull<A>(parts);
  ParallelFor(blocks, RowGrain(width * kBlockRows), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * kBlockRows; i < std::min(rows, end * kBlockRows); ++i) {
      const int64_t at = i * width;
      const BackwardRow<A, Dy, Ddelta> row = {dy.data<Dy>() + at,
                                              x.data<A>() + at,
                                              weight.data<A>(),
                                              dsums != nullptr ? dsums + at : nullptr,
                                              dx.data<A>() + at,
                                              ddeltas != nullptr ? ddeltas + at : nullptr,
                                              part_data != nullptr ? part_data + i / kBlockRows * width : nullptr};
      row.Run(width, rstd.data<A>()[i]);
    }
  });
  if (dweight.defined()) AddParts(parts, dweight.data<A>());
}

template <typename F>
void VisitStream(DType dtype, F&& f) {
  dtype == DType::kF64 ? f(double{}) : f(float{});
}

}  // namespace

void RmsNormForward(const Context&, const Tensor& x, const Tensor& delta, const Tensor& weight, double eps,
                    const Tensor& sum, const Tensor& y, const Tensor& rstd) {
  VisitStream(x.dtype(), [&](auto x_tag) {
    using A = decltype(x_tag);
    VisitComputedIn<A>(delta.dtype(), [&](auto delta_tag) {
      VisitComputedIn<A>(y.dtype(), [&](auto y_tag) {
        Forward<A, decltype(delta_tag), decltype(y_tag)>(x, delta, weight, eps, sum, y, rstd);
      });
    });
  });
}

void RmsNormBackward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& weight,
                     const Tensor& rstd, const Tensor& dsum, const Tensor& dx, const Tensor& ddelta,
                     const Tensor& dweight) {
  VisitStream(x.dtype(), [&](auto x_tag) {
    using A = decltype(x_tag);
    VisitComputedIn<A>(dy.dtype(), [&](auto dy_tag) {
      VisitComputedIn<A>(ddelta.dtype(), [&](auto ddelta_tag) {
        Backward<A, decltype(dy_tag), decltype(ddelta_tag)>(context, dy, x, weight, rstd, dsum, dx, ddelta, dweight);
      });
    });
  });
}

}  // namespace photon::cpu
