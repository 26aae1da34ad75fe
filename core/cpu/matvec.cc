#include "core/cpu/matvec.h"

#include <algorithm>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

// One step along K: a chunk of 64 bytes of each factor, and how their products are added to 16 sums.
template <typename T>
struct Chunk;

template <>
struct Chunk<float> {
  using Type = VecF;
  static constexpr int64_t kElements = 16;
  static VecF AddProducts(VecF sum, VecF a, VecF w) { return sum + a * w; }
};

template <>
struct Chunk<BFloat16> {
  using Type = VecU32;
  static constexpr int64_t kElements = 32;
  static VecF AddProducts(VecF sum, VecU32 a, VecU32 w) {
#ifdef __AVX512BF16__
    return reinterpret_cast<VecF>(
        _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(w)));
#else
    sum += reinterpret_cast<VecF>(a << 16) * reinterpret_cast<VecF>(w << 16);
    return sum + reinterpret_cast<VecF>(a & 0xffff0000u) * reinterpret_cast<VecF>(w & 0xffff0000u);
#endif
  }
};

template <typename T>
typename Chunk<T>::Type LoadChunk(const T* p) {
  typename Chunk<T>::Type chunk;
  std::memcpy(&chunk, p, sizeof(chunk));
  return chunk;
}
// The first n elements, zeros behind them.
template <typename T>
typename Chunk<T>::Type LoadChunk(const T* p, int64_t n) {
  return LoadFirst<typename Chunk<T>::Type>(p, n);
}

template <typename T>
struct RowsAt {
  const T* data;
  int64_t stride;
  const T* Row(int64_t i) const { return data + i * stride; }
};

// Outputs whose sums are reduced together, one lane each.
constexpr int kGroup = kLanes<float>;
// Rows whose sums are kept at once, and which stay in the first-level cache.
constexpr int64_t kBlockRows = 16;

// One step of the reduction of several vectors at once: lane pairs at distance kHalf of x and y are added; x's sums
// come to the lanes without kHalf, y's to those with it. Additions commute, so every vector's sum has the same tree.
template <int kHalf, int... lane>
inline VecF Fold(VecF x, VecF y, std::integer_sequence<int, lane...>) {
  const VecF kept = __builtin_shufflevector(x, y, (lane & kHalf ? kGroup + lane : lane)...);
  const VecF moved = __builtin_shufflevector(x, y, (lane & kHalf ? kGroup + lane - kHalf : lane + kHalf)...);
  return kept + moved;
}
template <int kHalf>
inline VecF Fold(VecF x, VecF y) {
  return Fold<kHalf>(x, y, std::make_integer_sequence<int, kGroup>{});
}
// Four vectors' lanes in sums of four, those of v[i] in lanes 4 i to 4 i + 3.
inline VecF FoldFour(const VecF* v) { return Fold<4>(Fold<8>(v[0], v[2]), Fold<8>(v[1], v[3])); }
template <int... lane>
inline VecF TransposeLanes(VecF v, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(v, v, (lane % 4 * 4 + lane / 4)...);
}
// Lane i of the result is the sum of all lanes of the vector i of 16, of which v [4] holds each four folded.
inline VecF SumEach(const VecF* v) {
  return TransposeLanes(Fold<1>(Fold<2>(v[0], v[2]), Fold<2>(v[1], v[3])), std::make_integer_sequence<int, kGroup>{});
}

// The products of kRows rows of a with one row of w, by lane, or with four, folded; row m's at sums[4 m]. A tile of 4
// by 4 has 16 sums, which hide the latency of the multiply-add.
template <typename T, int kRows, int kOutputs, int kLines>
void Tile(RowsAt<T> a, RowsAt<T> w, int64_t depth, const T* ahead, VecF* sums) {
  constexpr int64_t kStep = Chunk<T>::kElements;
  VecF sum[kRows][kOutputs] = {};
  const auto add = [&](int64_t k, auto... rest) {
    typename Chunk<T>::Type weight[kOutputs];
#pragma GCC unroll 8
    for (int n = 0; n < kOutputs; ++n) weight[n] = LoadChunk(w.Row(n) + k, rest...);
#pragma GCC unroll 8
    for (int i = 0; i < kLines; ++i) __builtin_prefetch(ahead + k * kLines + i * kStep, /*write=*/0, /*locality=*/2);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const auto row = LoadChunk(a.Row(m) + k, rest...);
#pragma GCC unroll 8
      for (int n = 0; n < kOutputs; ++n) sum[m][n] = Chunk<T>::AddProducts(sum[m][n], row, weight[n]);
    }
  };
  int64_t k = 0;
  for (; k + kStep <= depth; k += kStep) add(k);
  if (k < depth) add(k, depth - k);
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    static_assert(kOutputs == 1 || kOutputs == 4);
    sums[4 * m] = kOutputs == 4 ? FoldFour(sum[m]) : sum[m][0];
  }
}

// All rows of a against kOutputs rows of w, which stay in the first-level cache from the second tile on. Meanwhile
// memory would idle: the rows of w two tiles later are asked for, by each tile a part, in the order in which they lie,
// which the processor's own look-ahead then joins in.
template <typename T, int kOutputs, int kLines>
void Outputs(RowsAt<T> a, int64_t rows, RowsAt<T> w, int64_t depth, VecF* sums) {
  int64_t m = 0;
  const T* ahead = w.Row(2 * kOutputs);
  const T* const end = w.Row(3 * kOutputs);
  const auto tile = [&](auto count) {
    const RowsAt<T> some = {a.Row(m), a.stride};
    if (ahead < end) {
      Tile<T, count(), kOutputs, kLines>(some, w, depth, ahead, sums + 4 * m);
      ahead += kLines * depth;
    } else {
      Tile<T, count(), kOutputs, 0>(some, w, depth, nullptr, sums + 4 * m);
    }
    m += count();
  };
  while (rows - m >= 4) tile(std::integral_constant<int, 4>());
  if ((rows - m) & 2) tile(std::integral_constant<int, 2>());
  if ((rows - m) & 1) tile(std::integral_constant<int, 1>());
}

template <typename T, typename Out>
struct RowProduct {
  RowsAt<T> a, w;
  int64_t rows, outputs, depth;
  const float* bias;  // may be null
  bool add;           // to what c holds
  Out* c;
  int64_t c_stride;

  // Columns [begin, begin + kGroup) of c, or those there are: their weights stay in the caches from block to block.
  void Run(int64_t begin) const {
    for (int64_t row = 0; row < rows; row += kBlockRows) {
      const RowProduct block = {.a = {a.Row(row), a.stride},
                                .w = w,
                                .rows = std::min<int64_t>(kBlockRows, rows - row),
                                .outputs = outputs,
                                .depth = depth,
                                .bias = bias,
                                .add = add,
                                .c = c + row * c_stride,
                                .c_stride = c_stride};
      block.RunBlock(begin);
    }
  }

 private:
  void RunBlock(int64_t begin) const {
    VecF sums[kBlockRows][4];  // [..][i]: of outputs 4 i to 4 i + 3
    const int64_t count = std::min<int64_t>(kGroup, outputs - begin);
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t first = begin + 4 * i, left = std::clamp<int64_t>(count - 4 * i, 0, 4);
      if (rows > 1 && left == 4) {
        FourOutputs({w.Row(first), w.stride}, &sums[0][i]);
        continue;
      }
      // A single row reads w in the order in which it lies, and nothing must be asked for.
      VecF each[kBlockRows][4];
      for (int64_t n = 0; n < left; ++n) Outputs<T, 1, 0>(a, rows, {w.Row(first + n), w.stride}, depth, &each[0][n]);
      for (int64_t m = 0; m < rows; ++m) {
        std::fill(each[m] + left, each[m] + 4, VecF{});
        sums[m][i] = FoldFour(each[m]);
      }
    }
    for (int64_t m = 0; m < rows; ++m) {
      const VecF sum = SumEach(sums[m]);
      Out* row = c + m * c_stride + begin;
      count == kGroup ? Finish(sum, begin, row, AllLanes{}) : Finish(sum, begin, row, FirstLanes{count});
    }
  }
  void FourOutputs(RowsAt<T> four, VecF* sums) const {
    if (rows > 12) return Outputs<T, 4, 1>(a, rows, four, depth, sums);
    if (rows > 4) return Outputs<T, 4, 2>(a, rows, four, depth, sums);
    Outputs<T, 4, 4>(a, rows, four, depth, sums);
  }
  template <typename Lanes>
  void Finish(VecF sum, int64_t begin, Out* row, Lanes lanes) const {
    if (bias != nullptr) sum += Load(bias + begin, lanes);
    if (add) sum += Load(row, lanes);
    Store(row, sum, lanes);
  }
};

}  // namespace

void MultiplyRows(const Tensor& a, const Tensor& w, const Tensor& bias, float beta, const Tensor& c) {
  // Weights that a thread must have to be worth waking: some 64 KiB of bf16, 2 us at the speed of memory.
  constexpr int64_t kGrain = 32768;
  const auto run = [&](auto in, auto out) {
    using T = decltype(in);
    using Out = decltype(out);
    const RowProduct<T, Out> product = {.a = {a.data<T>(), a.stride(0)},
                                        .w = {w.data<T>(), w.stride(0)},
                                        .rows = c.dim(0),
                                        .outputs = c.dim(1),
                                        .depth = a.dim(1),
                                        .bias = DataOrNull<float>(bias),
                                        .add = beta == 1,
                                        .c = c.data<Out>(),
                                        .c_stride = c.stride(0)};
    const int64_t groups = (product.outputs + kGroup - 1) / kGroup;
    ParallelFor(groups, kGrain / (kGroup * product.depth) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) product.Run(group * kGroup);
    });
  };
  if (a.dtype() == DType::kF32) return run(float{}, float{});
  c.dtype() == DType::kF32 ? run(BFloat16{}, float{}) : run(BFloat16{}, BFloat16{});
}

}  // namespace photon::cpu
