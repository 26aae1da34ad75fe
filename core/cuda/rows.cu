// Rows picked by index, and the sums of their gradients. Bytes: SelectRows reads and writes out's bytes once: the
// floor. SelectRowsGradient reads the rows of dout that count once and reads and writes each row of a table that is
// named once: the floor; beside that, sorting the index, and 2 of 32 rows in the accumulate type where long runs of one
// row (a frequent token) are cut into pieces.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/row_order.h"
#include "core/cuda/vector.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kUnroll = 4;  // vectors that a thread has in flight

// ---- picking

// Strides in bytes; rows of `parts` Parts.
template <typename Part>
__global__ void __launch_bounds__(kThreads)
    SelectKernel(const char* a, int64_t a_stride, const char* b, int64_t b_stride, const int32_t* index, char* out,
                 int64_t out_stride, int64_t rows, int64_t parts) {
  RowWalk walk = ThreadsWalk(parts);
  while (walk.row() < rows) {
    Part moved[kUnroll];
    char* to[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u, walk.Advance()) {
      to[u] = nullptr;
      if (walk.row() >= rows) continue;
      const int64_t picked = index[walk.row()];
      const char* from = picked >= 0 ? a + picked * a_stride : b + (-1 - picked) * b_stride;
      moved[u] = reinterpret_cast<const Part*>(from)[walk.item()];
      to[u] = out + walk.row() * out_stride + walk.item() * sizeof(Part);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (to[u] != nullptr) *reinterpret_cast<Part*>(to[u]) = moved[u];
    }
  }
}

struct Bytes {
  explicit Bytes(const Tensor& t)
      : data(static_cast<char*>(t.raw())),
        stride(t.defined() ? t.stride(0) * static_cast<int64_t>(ByteSize(t.dtype())) : 0) {}
  char* data;
  int64_t stride;
};

template <typename Part>
bool TrySelect(const Context& context, const Tensor& a, const Tensor& b, const Tensor& index, const Tensor& out) {
  constexpr int kBlocksPerMultiprocessor = 8;
  const Bytes from_a(a), from_b(b), to(out);
  const int64_t row_bytes = out.dim(1) * static_cast<int64_t>(ByteSize(out.dtype()));
  const auto fits = [](const Bytes& t) {
    return reinterpret_cast<uintptr_t>(t.data) % sizeof(Part) == 0 && t.stride % sizeof(Part) == 0;
  };
  if (row_bytes % sizeof(Part) != 0 || !fits(from_a) || !fits(from_b) || !fits(to)) return false;
  const int64_t parts = row_bytes / static_cast<int64_t>(sizeof(Part));
  const unsigned grid = StrideGrid(context, out.dim(0) * parts, kThreads * kUnroll, kBlocksPerMultiprocessor);
  Launch(context, "select_rows", SelectKernel<Part>, grid, kThreads, 0, from_a.data, from_a.stride, from_b.data,
         from_b.stride, index.data<int32_t>(), to.data, to.stride, out.dim(0), parts);
  return true;
}

// ---- gradients

// Positions that one thread adds up, of its columns. Runs of one row that cross a border between pieces leave partial
// sums, which a second kernel adds up.
constexpr int kPiece = 32;

template <typename Table>
struct Tables {
  Table* a;
  Table* b;
  int64_t a_stride, b_stride;
  RowKeys keys;

  __device__ __forceinline__ Table* Row(uint32_t key) const {
    return key < keys.rows_b ? b + key * b_stride : a + (key - keys.rows_b) * a_stride;
  }
};

template <typename Table, int N>
__device__ __forceinline__ void AddTo(Table* p, const Raw<Table, N>& before, const AccumulateType<Table> (&sums)[N]) {
  AccumulateType<Table> values[N];
  before.Unpack(values);
#pragma unroll
  for (int k = 0; k < N; ++k) values[k] += sums[k];
  Raw<Table, N> after;
  after.Pack(values);
  after.Store(p);
}

// partials [pieces, 2, width]: of the run that begins before the piece, and of the one that goes on after it. A thread
// has one vector of columns of one piece.
template <typename In, typename Table, int N>
__global__ void __launch_bounds__(kThreads)
    AddPiecesKernel(const In* dout, int64_t dout_stride, const KeyedPosition* sorted, int64_t n, int64_t width,
                    Tables<Table> tables, AccumulateType<Table>* partials) {
  using A = AccumulateType<Table>;
  const int64_t item = int64_t{blockIdx.x} * kThreads + threadIdx.x, per_piece = width / N;
  const int64_t piece = item / per_piece, column = item % per_piece * N;
  const int64_t begin = piece * kPiece, end = min(n, begin + kPiece);
  if (begin >= n) return;
  const uint32_t none = tables.keys.none();
  bool enters = begin > 0 && sorted[begin - 1].key == sorted[begin].key;  // the run begins before the piece
  A sums[N] = {};
  for (int64_t first = begin; first < end; first += kUnroll) {
    Raw<In, N> terms[kUnroll];
    Raw<Table, N> before[kUnroll];
    Table* target[kUnroll];
    bool counts[kUnroll], last[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t i = first + u;
      counts[u] = last[u] = false;
      if (i >= end) continue;
      const KeyedPosition at = sorted[i];
      counts[u] = at.key != none;
      if (!counts[u]) continue;
      terms[u].Load(dout + at.position * dout_stride + column);
      last[u] = i + 1 == n || sorted[i + 1].key != at.key;
      target[u] = tables.Row(at.key) + column;
      if (last[u]) before[u].Load(target[u]);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (!counts[u]) continue;
      AccumulateType<In> values[N];
      terms[u].Unpack(values);
#pragma unroll
      for (int k = 0; k < N; ++k) sums[k] += static_cast<A>(values[k]);
      if (!last[u]) continue;
      if (enters) {
        Raw<A, N> sum;
        sum.Pack(sums);
        sum.Store(partials + 2 * piece * width + column);
      } else {
        AddTo<Table, N>(target[u], before[u], sums);
      }
      enters = false;
#pragma unroll
      for (int k = 0; k < N; ++k) sums[k] = 0;
    }
  }
  if (end == n || sorted[end - 1].key == none || sorted[end].key != sorted[end - 1].key) return;
  Raw<A, N> sum;
  sum.Pack(sums);
  sum.Store(partials + (2 * piece + (enters ? 0 : 1)) * width + column);
}

// The last piece that holds `key`; `piece` ends with it.
__device__ __forceinline__ int64_t LastPieceOf(const KeyedPosition* sorted, int64_t n, int64_t piece, uint32_t key) {
  int64_t low = piece + 1, high = (n - 1) / kPiece;  // the answer lies within; the piece after this begins with the key
  while (low < high) {
    const int64_t middle = (low + high) / 2;  // goes on after `middle`?
    if (sorted[(middle + 1) * kPiece].key == key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Adds up the partial sums of the runs that begin in this block's 32 pieces and go on after them. blockDim (32, warps):
// each warp takes every so many-th piece of a run, for 32 vectors of columns.
template <typename Table, int N>
__global__ void __launch_bounds__(kThreads)
    AddRunsKernel(const AccumulateType<Table>* partials, const KeyedPosition* sorted, int64_t n, int64_t width,
                  Tables<Table> tables) {
  using A = AccumulateType<Table>;
  constexpr int kRows = kThreads / kWarp;
  __shared__ A shared[kRows][kWarp * N];
  const int lane = threadIdx.x, warp = threadIdx.y;
  const int64_t column = (int64_t{blockIdx.y} * kWarp + lane) * N;
  const int64_t own = int64_t{blockIdx.x} * kWarp + lane, border = (own + 1) * kPiece;
  uint32_t key = tables.keys.none();
  bool begins = false;
  if (border < n) {
    key = sorted[border - 1].key;
    begins =
        key != tables.keys.none() && sorted[border].key == key && (own == 0 || sorted[border - kPiece - 1].key != key);
  }
  const int64_t own_last = begins ? LastPieceOf(sorted, n, own, key) : own;
  unsigned left = __ballot_sync(kAllLanes, begins);
  while (left != 0) {  // the same in all warps
    const int from = __ffs(static_cast<int>(left)) - 1;
    left &= left - 1;
    const int64_t first = int64_t{blockIdx.x} * kWarp + from;
    const int64_t last = first + __shfl_sync(kAllLanes, static_cast<int>(own_last - own), from);
    const uint32_t run = __shfl_sync(kAllLanes, key, from);
    A sums[N] = {};
    if (column < width) {
#pragma unroll 4
      for (int64_t piece = first + warp; piece <= last; piece += kRows) {
        Raw<A, N> part;
        A values[N];
        part.Load(partials + (2 * piece + (piece == first ? 1 : 0)) * width + column);
        part.Unpack(values);
#pragma unroll
        for (int k = 0; k < N; ++k) sums[k] += values[k];
      }
    }
#pragma unroll
    for (int k = 0; k < N; ++k) shared[warp][lane * N + k] = sums[k];
    __syncthreads();
    if (warp == 0 && column < width) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        for (int row = 1; row < kRows; ++row) sums[k] += shared[row][lane * N + k];
      }
      Table* target = tables.Row(run) + column;
      Raw<Table, N> before;
      before.Load(target);
      AddTo<Table, N>(target, before, sums);
    }
    __syncthreads();
  }
}

template <typename In, typename Table, int N>
void AddSelected(const Context& context, const Tensor& dout, const Tensor& index, const Tensor& da, const Tensor& db) {
  constexpr const char* kOperation = "select_rows_gradient";
  using A = AccumulateType<Table>;
  const int64_t n = dout.dim(0), width = dout.dim(1), pieces = CeilDiv(n, kPiece);
  const auto rows = [](const Tensor& t) { return t.defined() ? t.dim(0) : 0; };
  const auto stride = [](const Tensor& t) { return t.defined() ? t.stride(0) : 0; };
  const auto data = [](const Tensor& t) { return t.defined() ? t.data<Table>() : nullptr; };
  const Tables<Table> tables = {data(da), data(db), stride(da), stride(db), {rows(da), rows(db)}};
  const Tensor order = SortByRow(context, kOperation, index, tables.keys);
  const auto* sorted = reinterpret_cast<const KeyedPosition*>(order.data<int32_t>());
  const Tensor partials = context.Empty({pieces > 1 ? pieces : 0, 2, width}, DTypeOf<A>());
  const auto blocks = static_cast<unsigned>(CeilDiv(pieces * (width / N), kThreads));
  Launch(context, kOperation, AddPiecesKernel<In, Table, N>, blocks, kThreads, 0, dout.data<In>(), dout.stride(0),
         sorted, n, width, tables, partials.data<A>());
  if (pieces == 1) return;
  const dim3 grid(static_cast<unsigned>(CeilDiv(pieces, kWarp)), static_cast<unsigned>(CeilDiv(width, kWarp * N)));
  Launch(context, kOperation, AddRunsKernel<Table, N>, grid, dim3(kWarp, kThreads / kWarp), 0, partials.data<A>(),
         sorted, n, width, tables);
}

void AddSelected(const Context& context, const Tensor& dout, const Tensor& index, const Tensor& da, const Tensor& db) {
  VisitFloat(dout.dtype(), [&](auto in) {
    VisitFloat((da.defined() ? da : db).dtype(), [&](auto table) {
      using In = decltype(in);
      using Table = decltype(table);
      constexpr int N = kVector<In, Table>;
      const bool whole = dout.dim(1) % N == 0 && Vectorizable(dout, N) && Vectorizable(da, N) && Vectorizable(db, N);
      whole ? AddSelected<In, Table, N>(context, dout, index, da, db)
            : AddSelected<In, Table, 1>(context, dout, index, da, db);
    });
  });
}

}  // namespace

void SelectRows(const Context& context, const Tensor& a, const Tensor& b, const Tensor& index, const Tensor& out) {
  if (out.elements() == 0) return;
  TrySelect<uint4>(context, a, b, index, out) || TrySelect<uint2>(context, a, b, index, out) ||
      TrySelect<uint32_t>(context, a, b, index, out) || TrySelect<uint16_t>(context, a, b, index, out);
}

void SelectRowsGradient(const Context& context, const Tensor& dout, const Tensor& index, const Tensor& da,
                        const Tensor& db) {
  if (dout.elements() == 0) return;
  const bool into_a = da.defined() && da.dim(0) > 0, into_b = db.defined() && db.dim(0) > 0;
  if (into_a && into_b && da.dtype() == db.dtype()) return AddSelected(context, dout, index, da, db);
  if (into_a) AddSelected(context, dout, index, da, Tensor());
  if (into_b) AddSelected(context, dout, index, Tensor(), db);
}

}  // namespace photon::cuda
