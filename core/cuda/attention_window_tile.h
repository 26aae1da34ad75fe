// A tile of 16 rows of one head, 16-bit elements, in the registers of a warp.
//
// With g = lane / 4 and t = lane % 4, a lane holds of rows g and g + 8 the vectors t, 4 + t, 8 + t, .. of kVector
// elements: one access each, and the four lanes of a row read neighbours. In which order tensor cores sum over columns
// is free as long as both factors agree. So the registers as loaded are at once the left factor (rows) and the right
// one (columns) of products over columns. Tiles of 8 x 8 transposed, register by register, they are the right factor of
// products over rows, whose result arrives in the same layout again and is stored as it was loaded. No shared memory,
// no barrier.
#pragma once

#include "core/cuda/vector.h"
#include "simt.h"

namespace photon::cuda {

// kColumns: of a head, rounded up to whole registers; zeros behind the last one.
template <int kColumns>
struct RowTile {
  static constexpr int kRegisters = kColumns / 8;  // a lane's, of one row: two elements each
  uint32_t half[2][kRegisters];                    // rows g, and g + 8
};

__device__ __forceinline__ int TileRow(int half) { return static_cast<int>(threadIdx.x) % kWarp / 4 + 8 * half; }

// This lane's part of a tile in memory: one head, rows at multiples of `stride`, of which `rows` exist.
template <int kVector>
class TileMemory {
 public:
  static constexpr int kRegisters = kVector / 2;  // of an access

  // `head`: the tile's first row, the head's first column.
  __device__ __forceinline__ TileMemory(BFloat16* head, int64_t stride, int rows, int columns)
      : first_(head + TileRow(0) * stride + Column(0)), stride_(stride), rows_(rows), columns_(columns) {}

  // Vector 4 i + t; zeros where there is none.
  __device__ __forceinline__ void Load(int half, int i, uint32_t* registers) const {
    Vector v = {};
    if (Exists(half, i)) v = *reinterpret_cast<const Vector*>(At(half, i));
    registers[0] = v.x;
    registers[1] = v.y;
    if constexpr (kVector == 8) {
      registers[2] = v.z;
      registers[3] = v.w;
    }
  }
  __device__ __forceinline__ void Store(int half, int i, const uint32_t* registers) const {
    if (!Exists(half, i)) return;
    if constexpr (kVector == 8) {
      *reinterpret_cast<Vector*>(At(half, i)) = {registers[0], registers[1], registers[2], registers[3]};
    } else {
      *reinterpret_cast<Vector*>(At(half, i)) = {registers[0], registers[1]};
    }
  }

 private:
  using Vector = typename Raw<BFloat16, kVector>::Part;
  static __device__ __forceinline__ int Column(int i) { return (4 * i + static_cast<int>(threadIdx.x) % 4) * kVector; }
  __device__ __forceinline__ bool Exists(int half, int i) const {
    return TileRow(half) < rows_ && Column(i) < columns_;
  }
  __device__ __forceinline__ BFloat16* At(int half, int i) const {
    return first_ + 8 * half * stride_ + 4 * kVector * i;
  }
  BFloat16* first_;
  int64_t stride_;
  int rows_, columns_;
};

template <int kVector, int kColumns>
__device__ __forceinline__ void LoadTile(const TileMemory<kVector>& memory, RowTile<kColumns>& tile) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int i = 0; i < kColumns / (4 * kVector); ++i) memory.Load(half, i, tile.half[half] + i * kVector / 2);
  }
}

// One number for each pair of rows (i, j) of a tile. Of pair[n][e], i = Row(e), j = Column(n, e).
struct PairTile {
  float pair[2][4];
  static __device__ __forceinline__ int Half(int e) { return e / 2; }
  static __device__ __forceinline__ int Column(int n, int e) {
    return 8 * n + 2 * (static_cast<int>(threadIdx.x) % 4) + e % 2;
  }
};

// a b^T: pair (i, j) is the dot product of a's row i with b's row j.
template <int kColumns>
__device__ __forceinline__ PairTile DotProducts(const RowTile<kColumns>& a, const RowTile<kColumns>& b) {
  PairTile result = {};
#pragma unroll
  for (int r = 0; r < RowTile<kColumns>::kRegisters; r += 2) {
    const uint32_t left[4] = {a.half[0][r], a.half[1][r], a.half[0][r + 1], a.half[1][r + 1]};
#pragma unroll
    for (int n = 0; n < 2; ++n) MmaBf16(result.pair[n], left, {b.half[n][r], b.half[n][r + 1]});
  }
  return result;
}

// Weights of pairs, rounded to bf16, as left factor of WeightedRows: of row i over rows j.
struct WeightTile {
  explicit __device__ __forceinline__ WeightTile(const PairTile& t)
      : factor{PackBf16(t.pair[0][0], t.pair[0][1]), PackBf16(t.pair[0][2], t.pair[0][3]),
               PackBf16(t.pair[1][0], t.pair[1][1]), PackBf16(t.pair[1][2], t.pair[1][3])} {}
  // Of row j over rows i.
  __device__ __forceinline__ WeightTile Transposed() const {
    WeightTile result = *this;
    result.factor[0] = TransposeMatrix(factor[0]);
    result.factor[1] = TransposeMatrix(factor[2]);
    result.factor[2] = TransposeMatrix(factor[1]);
    result.factor[3] = TransposeMatrix(factor[3]);
    return result;
  }
  uint32_t factor[4];
};

// Adds to sum: two elements of row g, two of row g + 8, in the place of register r: those of the product weights rows.
template <int kColumns>
__device__ __forceinline__ void AddWeightedRows(const WeightTile& weights, const RowTile<kColumns>& rows, int r,
                                                float (&sum)[4]) {
  MmaBf16(sum, weights.factor, {TransposeMatrix(rows.half[0][r]), TransposeMatrix(rows.half[1][r])});
}

// Writes the vectors of sums that sum(r, the sum) gives, times the factors of rows g and g + 8. Vector by vector: few
// sums exist at once.
template <int kColumns, int kVector, typename Sum>
__device__ __forceinline__ void StoreSums(const TileMemory<kVector>& memory, float low, float high, Sum&& sum) {
  constexpr int kRegisters = TileMemory<kVector>::kRegisters;
#pragma unroll
  for (int i = 0; i < kColumns / (4 * kVector); ++i) {
    uint32_t half[2][kRegisters];
#pragma unroll
    for (int r = 0; r < kRegisters; ++r) {
      float s[4] = {};
      sum(i * kRegisters + r, s);
      half[0][r] = PackBf16(s[0] * low, s[1] * low);
      half[1][r] = PackBf16(s[2] * high, s[3] * high);
    }
    memory.Store(0, i, half[0]);
    memory.Store(1, i, half[1]);
  }
}

}  // namespace photon::cuda
