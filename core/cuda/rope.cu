// Rotary position embedding in place. Bytes an element, of b-byte type: 2 b, read and written once, the floor. A row of
// the table serves all heads of a row of x and comes from the caches.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerMultiprocessor = 4;  // all resident: a second wave would end unevenly

// Pairs of vectors that a thread has in flight: more where they are short, as of heads of 52 or 60.
template <typename T, int N>
constexpr int kUnroll = sizeof(T) * N < kAccess ? 4 : 2;

// An item is N dimensions of a head's first half and their partners of the second; `per_row` items a row, `per_head` a
// head.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    RopeKernel(T* __restrict__ x, int64_t stride, int64_t rows, unsigned per_row, unsigned per_head,
               const int32_t* __restrict__ positions, const AccumulateType<T>* __restrict__ table,
               AccumulateType<T> sign) {
  using A = AccumulateType<T>;
  constexpr int kPairs = kUnroll<T, N>;
  const unsigned half = per_head * N;
  RowWalk walk = ThreadsWalk(per_row);
  while (walk.row() < rows) {
    Raw<T, N> first[kPairs], second[kPairs];
    T* at[kPairs];
    const A* angles[kPairs];
#pragma unroll
    for (int k = 0; k < kPairs; ++k, walk.Advance()) {
      at[k] = nullptr;
      if (walk.row() >= rows) continue;
      const unsigned item = static_cast<unsigned>(walk.item()), head = item / per_head;
      const unsigned dimension = (item - head * per_head) * N;
      at[k] = x + walk.row() * stride + head * 2 * half + dimension;
      first[k].Load(at[k]);
      second[k].Load(at[k] + half);
      angles[k] = table + int64_t{positions[walk.row()]} * (2 * half) + dimension;
    }
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
      if (at[k] == nullptr) continue;
      Raw<A, N> cosines, sines;
      cosines.LoadShared(angles[k]);
      sines.LoadShared(angles[k] + half);
      A a[N], b[N], c[N], s[N];
      first[k].Unpack(a);
      second[k].Unpack(b);
      cosines.Unpack(c);
      sines.Unpack(s);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const A sine = s[i] * sign, before = a[i];
        a[i] = before * c[i] - b[i] * sine;
        b[i] = b[i] * c[i] + before * sine;
      }
      first[k].Pack(a);
      second[k].Pack(b);
      first[k].Store(at[k]);
      second[k].Store(at[k] + half);
    }
  }
}

struct Arguments {
  const Context& context;
  const Tensor& x;
  int64_t head_dim;
  const Tensor& positions;
  const Tensor& table;
  bool inverse;
};

// With the longest vectors, of N elements or fewer, that halves of heads divide into. Heads of 52 or 60 bf16 elements
// have pairs only: a warp still reads whole lines.
template <typename T, int N>
void LaunchRope(const Arguments& a) {
  using A = AccumulateType<T>;
  if constexpr (N > 1) {
    if (a.head_dim / 2 % N != 0 || !AllVectorizable(N, a.x, a.table)) return LaunchRope<T, N / 2>(a);
  }
  const int64_t per_head = a.head_dim / 2 / N, per_row = a.x.dim(1) / a.head_dim * per_head;
  const unsigned grid = StrideGrid(a.context, a.x.dim(0) * per_row, kThreads * kUnroll<T, N>, kBlocksPerMultiprocessor);
  Launch(a.context, "rope", RopeKernel<T, N>, grid, kThreads, 0, a.x.data<T>(), a.x.stride(0), a.x.dim(0),
         static_cast<unsigned>(per_row), static_cast<unsigned>(per_head), a.positions.data<int32_t>(),
         a.table.data<A>(), A(a.inverse ? -1 : 1));
}

}  // namespace

void Rope(const Context& context, const Tensor& x, int64_t head_dim, const Tensor& positions, const Tensor& table,
          bool inverse) {
  const Arguments arguments = {context, x, head_dim, positions, table, inverse};
  VisitFloat(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    LaunchRope<T, kVector<T>>(arguments);
  });
}

}  // namespace photon::cuda
