// Products of a few rows with a matrix in bf16, as in decoding: bound by reading B once. On tensor cores, since from
// some eight rows on the arithmetic of a multiprocessor's other units takes longer than that.
//
// A block takes 8 or 16 rows of B; its warps share out k in pieces of 32, of which neighbours take neighbours. Lanes
// read 16 bytes of a row: the product's depth is permuted, for A and B alike, so that these are factors as they come. A
// warp's sum goes by rising k, and the block's by warps: an order that depends on k alone.
#include "core/cuda/attention_tiles.h"
#include "core/cuda/launch.h"
#include "core/cuda/matmul_kernels.h"
#include "core/cuda/vector.h"
#include "simt.h"

namespace photon::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;
constexpr int kPiece = 32;  // of k, that a warp takes at once: 4 lanes a row, 8 elements each
constexpr int kStages = 8;  // of a warp: one piece is multiplied while seven are on their way from memory

__device__ __forceinline__ uint32_t Word(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

// kTiles: of eight rows of B, the block's columns of C. Every lane copies what it multiplies itself: nobody waits for
// others, and no compiler can move the copies behind the first wait, as it does with loads into registers.
template <typename Out, int kTiles>
__global__ void __launch_bounds__(kThreads)
    FewRowsMmaKernel(const BFloat16* a, int64_t a_stride, const BFloat16* b, int64_t b_stride, const float* bias,
                     bool accumulate, Out* c, int64_t c_stride, int rows, int64_t columns, int64_t k) {
  constexpr int kColumns = 8 * kTiles;
  __shared__ float sums[kWarps][kMostFewRows][kColumns];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, line = lane / 4;
  uint4* const stages = DynamicShared<uint4>() + warp * kStages * kTiles * kWarp + lane;  // [kStages][kTiles][lane]
  const int64_t first = int64_t{blockIdx.x} * kColumns;
  const int pieces = (static_cast<int>((k + kPiece - 1) / kPiece) - warp + kWarps - 1) / kWarps;  // of the warp
  const auto place = [&](int piece) { return (int64_t{piece} * kWarps + warp) * kPiece + lane % 4 * 8; };
  const auto copy = [&](int piece) {
    const int64_t at = place(piece);
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const int64_t column = first + 8 * t + line;
      const bool real = piece < pieces && at < k && column < columns;
      CopyAsync<16>(stages + (piece % kStages * kTiles + t) * kWarp, real ? b + column * b_stride + at : b, real);
    }
    CopyAsyncCommit();
  };
  uint4 left[2];  // of rows `line` and, eight below, the other
  const auto load = [&](int piece) {
    const int64_t at = place(piece);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = line + 8 * half;
      left[half] = {};
      if (piece < pieces && at < k && row < rows) left[half] = *reinterpret_cast<const uint4*>(a + row * a_stride + at);
    }
  };
#pragma unroll
  for (int piece = 0; piece < kStages - 1; ++piece) copy(piece);
  load(0);

  float d[kTiles][4] = {};
#pragma unroll 1
  for (int piece = 0; piece < pieces; ++piece) {
    CopyAsyncWait<kStages - 2>();
    uint4 weights[kTiles];
#pragma unroll
    for (int t = 0; t < kTiles; ++t) weights[t] = stages[(piece % kStages * kTiles + t) * kWarp];
    copy(piece + kStages - 1);
    const uint4 low = left[0], high = left[1];
    load(piece + 1);
#pragma unroll
    for (int step = 0; step < 2; ++step) {  // 16 deep
      const uint32_t factor[4] = {Word(low, 2 * step), Word(high, 2 * step), Word(low, 2 * step + 1),
                                  Word(high, 2 * step + 1)};
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        MmaBf16(d[t], factor, {Word(weights[t], 2 * step), Word(weights[t], 2 * step + 1)});
      }
    }
  }
  CopyAsyncWait<0>();  // of pieces that are not there
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const TilePlace place = SumPlace(lane, i);
      sums[warp][place.row][8 * t + place.column] = d[t][i];
    }
  }
  __syncthreads();
  const int row = static_cast<int>(threadIdx.x) / kColumns, own_column = static_cast<int>(threadIdx.x) % kColumns;
  const int64_t column = first + own_column;
  if (row >= rows || column >= columns) return;
  float total = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) total += sums[w][row][own_column];
  if (bias != nullptr) total += bias[column];
  Out* out = c + row * c_stride + column;
  *out = Out(accumulate ? total + static_cast<float>(*out) : total);
}

template <typename Out, int kTiles>
void Queue(const Context& context, const Tensor& a, const Tensor& b, const Tensor& bias, float beta, const Tensor& c) {
  static_assert(kMostFewRows * 8 * kTiles <= kThreads);
  Launch(context, "matmul", FewRowsMmaKernel<Out, kTiles>, dim3(static_cast<unsigned>(CeilDiv(c.dim(1), 8 * kTiles))),
         dim3(kThreads), sizeof(uint4) * kThreads * kStages * kTiles, a.data<BFloat16>(), a.stride(0),
         b.data<BFloat16>(), b.stride(0), static_cast<const float*>(DataOrNull<float>(bias)), beta == 1, c.data<Out>(),
         c.stride(0), static_cast<int>(c.dim(0)), c.dim(1), a.dim(1));
}

// More columns a block read A less often, fewer make more blocks.
template <typename Out>
void QueueColumns(const Context& context, const Tensor& a, const Tensor& b, const Tensor& bias, float beta,
                  const Tensor& c) {
  (c.dim(0) <= 8 ? Queue<Out, 1> : Queue<Out, 2>)(context, a, b, bias, beta, c);
}

}  // namespace

void MultiplyFewRowsMma(const Context& context, const Tensor& a, const Tensor& b, const Tensor& bias, float beta,
                        const Tensor& c) {
  (c.dtype() == DType::kF32 ? QueueColumns<float> : QueueColumns<BFloat16>)(context, a, b, bias, beta, c);
}

}  // namespace photon::cuda
