#include <cstring>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"

namespace photon::cpu {
namespace {

// f(the row in the matrix, the row at its address, bytes)
template <typename F>
void ForEachRow(const Tensor& matrix, const Tensor& addresses, F&& f) {
  const size_t bytes = matrix.dim(1) * ByteSize(matrix.dtype());
  const int64_t* address = addresses.data<int64_t>();
  ParallelFor(matrix.dim(0), RowGrain(matrix.dim(1)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      f(static_cast<char*>(matrix.raw()) + i * bytes, reinterpret_cast<void*>(address[i]), bytes);
    }
  });
}

}  // namespace

void GatherRows(const Context&, const Tensor& addresses, const Tensor& out) {
  ForEachRow(out, addresses, [](void* row, const void* at, size_t bytes) { std::memcpy(row, at, bytes); });
}

void ScatterRows(const Context&, const Tensor& in, const Tensor& addresses) {
  ForEachRow(in, addresses, [](const void* row, void* at, size_t bytes) { std::memcpy(at, row, bytes); });
}

}  // namespace photon::cpu
