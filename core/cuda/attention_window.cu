// Windows of attention on tensor cores, packed into tiles of 16 rows (core/cuda/attention_packing.h).
//
// A warp takes a tile of one key/value head and its query heads: all in registers (core/cuda/attention_window_tile.h),
// nothing shared, so warps hide each other's latency, and every sum has one owner and one order. The backward pass sums
// dout . out as probability times dout . v, which it has in registers: it does not read `out`.
//
// Bytes are the limit, by reckoning for an H200 (132 multiprocessors at 1.75 GHz, copying 4.1 TB/s: 18 bytes a cycle
// each) and 64 columns. A tile of 3 windows of 5 moves 7.7 KB forward and 13.5 KB backward: 440 and 760 cycles, in
// which four schedulers could issue 1,750 and 3,000 instructions; ptxas makes 730 (of which groups, slow divisions and
// the log-sum-exp are mostly jumped over) and 600. A warp has 5.8 KB of loads in flight forward and 7.7 KB backward, 16
// warps fit a multiprocessor, and 18 bytes a cycle need 25 KB in flight at 1,400 cycles of latency.
// The other way, 8 lanes a window with multiply-adds and shuffles on vectors in registers, comes to some 450 and 640
// instructions plus addresses for the same three windows, so issues about as much. But its work grows with the square
// of the window (16 rows: 930 and 1,750 a window, where a tile stays as it is), and so do its registers.
#include <algorithm>
#include <cmath>

#include "core/cuda/attention_stream.h"
#include "core/cuda/attention_window.h"
#include "core/cuda/attention_window_tile.h"
#include "core/cuda/exponential.h"
#include "core/cuda/launch.h"
#include "core/cuda/warp.h"
#include "core/ops/attention_heads.h"

namespace photon::cuda {
namespace {

constexpr int kMostWarps = 4;  // of a block: neighbouring heads of a tile, whose rows adjoin
// Blocks that a multiprocessor's registers are to hold at once: as many as the kernels fit without spilling.
constexpr int BlocksWanted(int columns, bool grouped) { return columns > 64 ? 2 : grouped ? 3 : 4; }

struct Rows {
  explicit Rows(const Tensor& t) : data(t.data<BFloat16>()), stride(t.stride(0)) {}
  BFloat16* data;
  int64_t stride;
};

struct Task {
  Task(const ops::AttentionShape& s, const Tensor& lse)
      : packing(s.batch, static_cast<int>(s.length)),
        heads(s.heads),
        kv_heads(s.kv_heads),
        columns(static_cast<int>(s.head_dim)),
        scale(1 / std::sqrt(static_cast<float>(s.head_dim))),
        first_key(s.first_key.defined() ? s.first_key.data<int32_t>() : nullptr),
        lse(lse.defined() ? lse.data<float>() : nullptr),
        lse_stride(lse.defined() ? lse.stride(0) : 0) {
    while (s.kv_heads % warps != 0) --warps;
    blocks_per_tile = s.kv_heads / warps;
  }
  unsigned blocks() const { return static_cast<unsigned>(packing.tiles() * blocks_per_tile); }
  int threads() const { return warps * kWarp; }
  __device__ __forceinline__ int FirstHead(int kv_head) const {
    return heads == kv_heads ? kv_head : ops::FirstQueryHead(kv_head, heads, kv_heads);
  }

  WindowPacking packing;
  int heads, kv_heads, columns;
  int warps = kMostWarps;    // of a block
  unsigned blocks_per_tile;  // one after the other, so that they find each other's halves of sectors in the cache
  float scale;
  const int32_t* first_key;
  float* lse;
  int64_t lse_stride;
};

// This warp's tile and key/value head, and for its lane's two rows the first row that each sees.
struct Unit {
  explicit __device__ __forceinline__ Unit(const Task& task) {
    const unsigned tile = blockIdx.x / task.blocks_per_tile;
    kv_head = static_cast<int>(blockIdx.x % task.blocks_per_tile * (blockDim.x / kWarp) + threadIdx.x / kWarp);
    first_row = task.packing.FirstRow(tile);
    rows = task.packing.RowsOf(tile);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = TileRow(half);
      const bool masked = task.first_key != nullptr && row < rows;
      begin[half] = task.packing.Begin(row, masked ? task.first_key[first_row + row] : 0);
    }
  }
  __device__ __forceinline__ bool Visible(int n, int e) const {
    const int half = PairTile::Half(e), column = PairTile::Column(n, e);
    return begin[half] <= column && column <= TileRow(half);
  }
  int kv_head, rows;
  int64_t first_row;
  int begin[2];
};

// Scores become weights, 1 for the largest of a row. A row's total is a sum of integers, multiples of 2^-27: exact, so
// it does not depend on where in the tile the window lies.
struct Softmax {
  explicit __device__ __forceinline__ Softmax(const Unit& unit, float scale, PairTile& scores) {
    uint32_t sum[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float& most = largest[PairTile::Half(e)];
        if (unit.Visible(n, e) && scores.pair[n][e] > most) most = scores.pair[n][e];
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) largest[half] = WarpMax<4>(largest[half]);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int half = PairTile::Half(e);
        float& weight = scores.pair[n][e];
        weight = unit.Visible(n, e) ? Exp2((weight - largest[half]) * (scale * kLog2E)) : 0.0f;
        sum[half] += static_cast<uint32_t>(weight * 0x1p27f);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      total[half] = static_cast<float>(WarpSum<4>(sum[half])) * 0x1p-27f;
    }
  }
  float largest[2] = {-INFINITY, -INFINITY}, total[2];
};

// One head's rows of a unit's tile.
template <int kVector>
__device__ __forceinline__ TileMemory<kVector> MemoryOf(const Unit& unit, const Rows& rows, int head, int columns) {
  return TileMemory<kVector>(rows.data + unit.first_row * rows.stride + int64_t{head} * columns, rows.stride, unit.rows,
                             columns);
}

template <int kVector, int kColumns>
__global__ void __launch_bounds__(kMostWarps* kWarp, BlocksWanted(kColumns, false))
    WindowForwardKernel(Task task, Rows q_rows, Rows k_rows, Rows v_rows, Rows out_rows) {
  const Unit unit(task);
  const auto memory = [&](const Rows& rows, int head) { return MemoryOf<kVector>(unit, rows, head, task.columns); };
  RowTile<kColumns> q, k, v;
  LoadTile(memory(k_rows, unit.kv_head), k);
  LoadTile(memory(v_rows, unit.kv_head), v);
  const int begin = task.FirstHead(unit.kv_head), end = task.FirstHead(unit.kv_head + 1);
  for (int head = begin; head < end; ++head) {
    LoadTile(memory(q_rows, head), q);
    PairTile scores = DotProducts(q, k);
    const Softmax softmax(unit, task.scale, scores);
    const WeightTile weights(scores);
    StoreSums<kColumns>(memory(out_rows, head), 1 / softmax.total[0], 1 / softmax.total[1],
                        [&](int r, float(&sum)[4]) { AddWeightedRows(weights, v, r, sum); });
    if (task.lse != nullptr && threadIdx.x % 4 == 0) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (TileRow(half) < unit.rows) {
          task.lse[head * task.lse_stride + unit.first_row + TileRow(half)] =
              softmax.largest[half] * task.scale + logf(softmax.total[half]);
        }
      }
    }
    __syncwarp();  // the next head's products need the warp together
  }
}

// Scores become probabilities, products dout . v the gradients of q . k.
__device__ __forceinline__ void ScoreGradient(const Unit& unit, const Task& task, int head, PairTile& scores,
                                              PairTile& products) {
  float lse[2], mean[2] = {0, 0};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = TileRow(half);
    lse[half] = row < unit.rows ? task.lse[head * task.lse_stride + unit.first_row + row] * kLog2E : 0;
  }
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int half = PairTile::Half(e);
      float& probability = scores.pair[n][e];
      if (unit.Visible(n, e)) {
        probability = Exp2(probability * (task.scale * kLog2E) - lse[half]);
        mean[half] += probability * products.pair[n][e];
      } else {
        probability = 0;
      }
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) mean[half] = WarpSum<4>(mean[half]);
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float& gradient = products.pair[n][e];
      const float centered = gradient - mean[PairTile::Half(e)];
      gradient = unit.Visible(n, e) ? scores.pair[n][e] * centered * task.scale : 0;
    }
  }
}

// The sums of a key/value head's gradients over its query heads. Where there are several, they lie in shared memory, a
// part for each thread; the padding puts eight neighbours' parts into different banks.
template <int kColumns>
struct KeyGradients {
  float dk[RowTile<kColumns>::kRegisters][4], dv[RowTile<kColumns>::kRegisters][4];
  float padding[4];
};

// kGrouped: a key/value head may have several query heads.
template <int kVector, int kColumns, bool kGrouped>
__global__ void __launch_bounds__(kMostWarps* kWarp, BlocksWanted(kColumns, kGrouped))
    WindowBackwardKernel(Task task, Rows dout_rows, Rows q_rows, Rows k_rows, Rows v_rows, Rows dq_rows, Rows dk_rows,
                         Rows dv_rows) {
  const Unit unit(task);
  const auto memory = [&](const Rows& rows, int head) { return MemoryOf<kVector>(unit, rows, head, task.columns); };
  const auto store = [&](const Rows& rows, int head, auto&& sum) {
    StoreSums<kColumns>(memory(rows, head), 1, 1, sum);
  };
  const auto weighted = [](const WeightTile& weights, const RowTile<kColumns>& rows) {
    return [&](int r, float(&sum)[4]) { AddWeightedRows(weights, rows, r, sum); };
  };
  const int begin = kGrouped ? task.FirstHead(unit.kv_head) : unit.kv_head;
  const int end = kGrouped ? task.FirstHead(unit.kv_head + 1) : begin + 1;
  for (int head = begin; head < end; ++head) {
    RowTile<kColumns> q, k, v, dout;  // k and v again for every head: they come from a cache, registers are dearer
    LoadTile(memory(q_rows, head), q);
    LoadTile(memory(k_rows, unit.kv_head), k);
    LoadTile(memory(dout_rows, head), dout);
    LoadTile(memory(v_rows, unit.kv_head), v);
    PairTile probabilities = DotProducts(q, k), gradients = DotProducts(dout, v);
    ScoreGradient(unit, task, head, probabilities, gradients);
    const WeightTile p(probabilities), ds(gradients);
    store(dq_rows, head, weighted(ds, k));
    const WeightTile p_transposed = p.Transposed(), ds_transposed = ds.Transposed();
    if constexpr (kGrouped) {
      KeyGradients<kColumns>& sums = DynamicShared<KeyGradients<kColumns>>()[threadIdx.x];
      if (head == begin) sums = {};
#pragma unroll
      for (int r = 0; r < RowTile<kColumns>::kRegisters; ++r) {
        AddWeightedRows(ds_transposed, q, r, sums.dk[r]);
        AddWeightedRows(p_transposed, dout, r, sums.dv[r]);
      }
    } else {
      store(dk_rows, head, weighted(ds_transposed, q));
      store(dv_rows, head, weighted(p_transposed, dout));
    }
  }
  if constexpr (kGrouped) {
    const auto summed = [](const auto& sums) {
      return [&](int r, float(&sum)[4]) {
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[e] = sums[r][e];
      };
    };
    const KeyGradients<kColumns>& sums = DynamicShared<KeyGradients<kColumns>>()[threadIdx.x];
    store(dk_rows, unit.kv_head, summed(sums.dk));
    store(dv_rows, unit.kv_head, summed(sums.dv));
  }
}

// Calls f(vector, columns), both constants, where these tensors' heads fit the tensor core kernels; else returns false.
template <typename F>
bool VisitTiles(const ops::AttentionShape& shape, std::initializer_list<const Tensor*> tensors, F&& f) {
  constexpr int kWide = 8, kNarrow = 4;  // elements of an access
  constexpr int kFew = 64, kMany = 128;  // columns
  const auto fits = [&](int vector) {
    return shape.head_dim % vector == 0 && std::all_of(tensors.begin(), tensors.end(), [&](const Tensor* t) {
             return t->dtype() == DType::kBF16 && Vectorizable(*t, vector);
           });
  };
  const auto visit = [&](auto vector) {
    if (shape.head_dim <= kFew) {
      f(vector, std::integral_constant<int, kFew>());
    } else {
      f(vector, std::integral_constant<int, kMany>());
    }
    return true;
  };
  if (shape.head_dim > kMany) return false;
  if (fits(kWide)) return visit(std::integral_constant<int, kWide>());
  return fits(kNarrow) && visit(std::integral_constant<int, kNarrow>());
}

}  // namespace

void WindowForward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                   const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  const bool fits = VisitTiles(shape, {&q, &k, &v, &out}, [&](auto vector, auto columns) {
    const Task task(shape, lse);
    Launch(context, "attention_forward", WindowForwardKernel<vector(), columns()>, task.blocks(), task.threads(), 0,
           task, Rows(q), Rows(k), Rows(v), Rows(out));
  });
  if (!fits) StreamForwardPlain(context, q, k, v, shape, out, lse);
}

void WindowBackward(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                    const Tensor& out, const Tensor& lse, const ops::AttentionShape& shape, const Tensor& dq,
                    const Tensor& dk, const Tensor& dv) {
  const bool fits = VisitTiles(shape, {&dout, &q, &k, &v, &dq, &dk, &dv}, [&](auto vector, auto columns) {
    const Task task(shape, lse);
    const auto launch = [&](auto kernel, size_t shared) {
      Launch(context, "attention_backward", kernel, task.blocks(), task.threads(), shared, task, Rows(dout), Rows(q),
             Rows(k), Rows(v), Rows(dq), Rows(dk), Rows(dv));
    };
    if (shape.heads == shape.kv_heads) {
      launch(WindowBackwardKernel<vector(), columns(), false>, 0);
    } else {
      launch(WindowBackwardKernel<vector(), columns(), true>, task.threads() * sizeof(KeyGradients<columns()>));
    }
  });
  if (!fits) StreamBackwardPlain(context, dout, q, k, v, out, lse, shape, dq, dk, dv);
}

}  // namespace photon::cuda
