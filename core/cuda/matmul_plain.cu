// One thread an element of C, tiles of both factors in shared memory.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/matmul_kernels.h"
#include "core/cuda/vector.h"

namespace photon::cuda {
namespace {

constexpr int kTile = 16;
constexpr int64_t kMostBlocksInY = 65535;

// op(X)[row, column] lies at row * row_stride + column * column_stride.
template <typename T>
struct Factor {
  const T* data;
  int64_t row_stride, column_stride;

  __device__ __forceinline__ AccumulateType<T> At(int64_t row, int64_t column, int64_t rows, int64_t columns) const {
    return row < rows && column < columns
               ? static_cast<AccumulateType<T>>(data[row * row_stride + column * column_stride])
               : AccumulateType<T>(0);
  }
};

template <typename T>
Factor<T> FactorOf(const Tensor& t, bool transposed) {
  return transposed ? Factor<T>{t.data<T>(), 1, t.stride(0)} : Factor<T>{t.data<T>(), t.stride(0), 1};
}

template <typename In, typename Out>
__global__ void __launch_bounds__(kTile* kTile)
    PlainKernel(Factor<In> a, Factor<In> b, const AccumulateType<In>* bias, bool accumulate, Out* c, int64_t c_stride,
                int64_t m, int64_t n, int64_t k) {
  using A = AccumulateType<In>;
  __shared__ A a_tile[kTile][kTile + 1];
  __shared__ A b_tile[kTile][kTile + 1];
  const int x = threadIdx.x, y = threadIdx.y;
  const int64_t column = int64_t{blockIdx.x} * kTile + x;
  for (int64_t first = int64_t{blockIdx.y} * kTile; first < m; first += int64_t{gridDim.y} * kTile) {
    const int64_t row = first + y;
    A sum = 0;
    for (int64_t begin = 0; begin < k; begin += kTile) {
      a_tile[y][x] = a.At(row, begin + x, m, k);
      b_tile[y][x] = b.At(begin + y, column, k, n);
      __syncthreads();
      for (int i = 0; i < kTile; ++i) sum += a_tile[y][i] * b_tile[i][x];
      __syncthreads();
    }
    if (row >= m || column >= n) continue;
    if (bias != nullptr) sum += bias[column];
    Out* out = c + row * c_stride + column;
    *out = Out(accumulate ? sum + static_cast<A>(*out) : sum);
  }
}

template <typename In, typename Out>
void QueueProduct(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                  const Tensor& bias, float beta, const Tensor& c) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(c.dim(1), kTile)),
                  static_cast<unsigned>(std::min(CeilDiv(c.dim(0), kTile), kMostBlocksInY)));
  Launch(context, "matmul", PlainKernel<In, Out>, grid, dim3(kTile, kTile), 0, FactorOf<In>(a, transpose_a),
         FactorOf<In>(b, transpose_b), static_cast<const AccumulateType<In>*>(DataOrNull<AccumulateType<In>>(bias)),
         beta == 1, c.data<Out>(), c.stride(0), c.dim(0), c.dim(1), a.dim(transpose_a ? 0 : 1));
}

}  // namespace

void MultiplyPlainly(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                     const Tensor& bias, float beta, const Tensor& c) {
  VisitFloat(a.dtype(), [&](auto in) {
    using In = decltype(in);
    if (c.dtype() == a.dtype()) {
      QueueProduct<In, In>(context, a, transpose_a, b, transpose_b, bias, beta, c);
    } else if constexpr (std::is_same_v<In, BFloat16>) {
      QueueProduct<In, float>(context, a, transpose_a, b, transpose_b, bias, beta, c);
    }
  });
}

}  // namespace photon::cuda
