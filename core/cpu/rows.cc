#include <algorithm>
#include <cstring>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/row_kernels.h"

namespace photon::cpu {
namespace {

const char* RowOf(const Tensor& t, int64_t row) {
  return static_cast<const char*>(t.raw()) + row * t.stride(0) * static_cast<int64_t>(ByteSize(t.dtype()));
}

// table[row(i)] += dout[i] for every i with row(i) = index[i] (or -1 - index[i] for the second table) >= 0. Each thread
// owns every threads-th row of the table and walks the whole index: a row's sum is taken in the order of i whatever the
// number of threads, and the frequent tokens, whose ids are low, are spread evenly.
template <typename T, typename U>
void AddSelected(const Tensor& dout, const int32_t* index, bool second, const Tensor& table) {
  const int64_t rows = dout.dim(0);
  const int64_t width = dout.dim(1);
  const int64_t threads =
      std::clamp<int64_t>(rows / RowGrain(width), 1, std::min<int64_t>(omp_get_max_threads(), table.dim(0)));
  ParallelFor(threads, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t row = second ? -1 - int64_t{index[i]} : index[i];
      if (row < 0 || row % threads < first || row % threads >= last) continue;
      AddRow(dout.data<T>() + i * dout.stride(0), table.data<U>() + row * table.stride(0), width);
    }
  });
}

void AddSelected(const Tensor& dout, const int32_t* index, bool second, const Tensor& table) {
  if (!table.defined() || table.dim(0) == 0) return;
  VisitFloat(dout.dtype(), [&](auto in) {
    VisitFloat(table.dtype(), [&](auto out) { AddSelected<decltype(in), decltype(out)>(dout, index, second, table); });
  });
}

}  // namespace

void SelectRows(const Context&, const Tensor& a, const Tensor& b, const Tensor& index, const Tensor& out) {
  const int32_t* rows = index.data<int32_t>();
  const int64_t width = out.dim(1);
  const size_t row_bytes = width * ByteSize(out.dtype());
  ParallelFor(out.dim(0), RowGrain(width), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* source = rows[i] >= 0 ? RowOf(a, rows[i]) : RowOf(b, -1 - int64_t{rows[i]});
      std::memcpy(const_cast<char*>(RowOf(out, i)), source, row_bytes);
    }
  });
}

void SelectRowsGradient(const Context&, const Tensor& dout, const Tensor& index, const Tensor& da, const Tensor& db) {
  AddSelected(dout, index.data<int32_t>(), /*second=*/false, da);
  AddSelected(dout, index.data<int32_t>(), /*second=*/true, db);
}

}  // namespace photon::cpu
