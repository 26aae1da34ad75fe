// Attention over long streams in any type and width, without tensor cores: for f32 and f64, and for wide heads.
//
// A block of kTile x kTile threads owns kTile rows (keys) of a head and walks over tiles of as many keys (rows), one
// thread a pair. Everything else is in shared memory, in the type of the sums. Keys and rows are taken in order, and no
// row's sums depend on another row; a hidden pair adds nothing, not even a NaN.
#include <cmath>

#include "core/cuda/attention_stream.h"
#include "core/cuda/attention_tiles.h"
#include "core/cuda/exponential.h"
#include "core/cuda/launch.h"
#include "core/cuda/warp.h"
#include "core/dtype.h"

namespace photon::cuda {
namespace {

template <typename A>
constexpr int kTile = sizeof(A) == sizeof(double) ? 8 : 16;
template <typename A>
constexpr int kThreads = kTile<A>* kTile<A>;

__device__ __forceinline__ float Log(float x) { return logf(x); }
__device__ __forceinline__ double Log(double x) { return log(x); }

template <typename T>
struct Rows {
  T* data;
  int64_t stride;

  __device__ __forceinline__ Rows At(int64_t row, int64_t column) const {
    return {data + row * stride + column, stride};
  }
};
template <typename T>
Rows<T> RowsOf(const Tensor& t) {
  return {t.data<T>(), t.stride(0)};
}

template <typename T>
struct PlainArguments {
  using A = AccumulateType<T>;
  Rows<T> q, k, v, out, dout, dq, dk, dv;
  Rows<A> lse;  // [heads, rows]; forward: data may be null
  Rows<A> dots;
  const int32_t* first_key;
  int length, keys, offset;  // of each sequence: rows, keys, and the position of the first row
  int tiles, heads, kv_heads, head_dim;
  A scale;

  // Of the sequence whose first row is `begin`.
  __device__ __forceinline__ StreamSpan SpanAt(int64_t begin) const {
    return {length, offset, first_key == nullptr ? nullptr : first_key + begin};
  }
};

template <typename T>
PlainArguments<T> ArgumentsOf(const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionShape& shape) {
  using A = AccumulateType<T>;
  PlainArguments<T> a = {};
  a.q = RowsOf<T>(q);
  a.k = RowsOf<T>(k);
  a.v = RowsOf<T>(v);
  a.first_key = shape.first_key.defined() ? shape.first_key.data<int32_t>() : nullptr;
  a.length = static_cast<int>(shape.length);
  a.keys = static_cast<int>(shape.key_count());
  a.offset = static_cast<int>(shape.offset);
  a.heads = shape.heads;
  a.kv_heads = shape.kv_heads;
  a.head_dim = static_cast<int>(shape.head_dim);
  a.scale = 1 / std::sqrt(static_cast<A>(shape.head_dim));
  return a;
}

// A tile in shared memory, rows an odd number of elements apart: threads that read one column meet different banks.
template <typename A>
struct Tile {
  A* data;
  int stride;

  __device__ __forceinline__ A* operator[](int row) const { return data + row * stride; }
};
// The i-th of a block's tiles.
template <typename A>
__device__ __forceinline__ Tile<A> TileAt(int i, int head_dim) {
  const int stride = head_dim | 1;
  return {DynamicShared<A>() + i * kTile<A> * stride, stride};
}
template <typename A>
size_t SharedBytes(int tiles, int64_t head_dim) {
  return sizeof(A) * tiles * kTile<A> * (head_dim | 1);
}

template <typename A, typename T>
__device__ __forceinline__ void Load(Tile<A> tile, Rows<T> from, int rows, int head_dim) {
  for (int row = threadIdx.x / kTile<A>; row < kTile<A>; row += kTile<A>) {
    for (int c = threadIdx.x % kTile<A>; c < head_dim; c += kTile<A>) {
      tile[row][c] = row < rows ? static_cast<A>(from.data[row * from.stride + c]) : A(0);
    }
  }
}

template <typename A>
__device__ __forceinline__ A Dot(const A* x, const A* y, int n) {
  A sum = 0;
  for (int i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

// What a thread does: its row of the block's own tile and its column of the pairs, or of elements.
struct Place {
  int row, column;
};
template <typename A>
__device__ __forceinline__ Place PlaceOf() {
  return {static_cast<int>(threadIdx.x) / kTile<A>, static_cast<int>(threadIdx.x) % kTile<A>};
}

template <typename T, typename A = AccumulateType<T>>
__global__ void __launch_bounds__(kThreads<A>) PlainForwardKernel(const PlainArguments<T> a) {
  __shared__ A weights[kTile<A>][kTile<A> + 1];
  const Tile<A> q = TileAt<A>(0, a.head_dim), keys = TileAt<A>(1, a.head_dim), sums = TileAt<A>(2, a.head_dim);
  const StreamBlock block = StreamBlockOf(blockIdx.x, a.tiles, a.heads, /*last_tile_first=*/true);
  const int64_t begin = block.sequence * a.length, key_begin = block.sequence * a.keys;
  const int64_t key_column = int64_t{KeyHeadOf(block.head, a.heads, a.kv_heads)} * a.head_dim;
  const StreamSpan span = a.SpanAt(begin);
  const auto [r, lane] = PlaceOf<A>();
  const int first_row = block.tile * kTile<A>, row = first_row + r;
  const int first = row < a.length ? span.FirstKey(row) : 0;
  const TileRange tiles = KeyTiles(span, first_row, kTile<A>, kTile<A>);
  Load(q, a.q.At(begin + first_row, int64_t{block.head} * a.head_dim), a.length - first_row, a.head_dim);
  for (int c = lane; c < a.head_dim; c += kTile<A>) sums[r][c] = 0;

  A largest = -INFINITY, total = 0;
  for (int tile = tiles.begin; tile < tiles.end; ++tile) {
    const int key = tile * kTile<A>, count = span.seen_keys() - key;
    __syncthreads();
    Load(keys, a.k.At(key_begin + key, key_column), count, a.head_dim);
    __syncthreads();
    const bool sees = Sees(a.offset + row, first, key + lane);
    const A score = sees ? a.scale * Dot(q[r], keys[lane], a.head_dim) : A(-INFINITY);
    const A now = fmax(largest, WarpMax<kTile<A>>(score));
    const A shrink = now == largest ? A(1) : Exp(largest - now);
    const A weight = sees ? Exp(score - now) : A(0);
    largest = now;
    total = total * shrink + weight;
    weights[r][lane] = weight;
    __syncthreads();
    Load(keys, a.v.At(key_begin + key, key_column), count, a.head_dim);
    __syncthreads();
    for (int c = lane; c < a.head_dim; c += kTile<A>) {
      A sum = sums[r][c] * shrink;
      for (int j = 0; j < kTile<A>; ++j) {
        if (weights[r][j] != 0) sum += weights[r][j] * keys[j][c];
      }
      sums[r][c] = sum;
    }
  }
  total = WarpSum<kTile<A>>(total);
  if (row >= a.length) return;
  const Rows<T> out = a.out.At(begin + row, int64_t{block.head} * a.head_dim);
  for (int c = lane; c < a.head_dim; c += kTile<A>) out.data[c] = T(sums[r][c] / total);
  if (a.lse.data != nullptr && lane == 0) *a.lse.At(block.head, begin + row).data = largest + Log(total);
}

// weight and dscore of a pair, zeros where it is hidden.
template <typename A>
struct Pair {
  A weight, dscore;
};
template <typename A>
__device__ __forceinline__ Pair<A> PairOf(bool sees, A score, A dweight, A lse, A dot) {
  const A weight = sees ? Exp(score - lse) : A(0);
  return {weight, sees ? weight * (dweight - dot) : A(0)};
}

template <typename T, typename A = AccumulateType<T>>
__global__ void __launch_bounds__(kThreads<A>) PlainQueryGradientKernel(const PlainArguments<T> a) {
  __shared__ A dscores[kTile<A>][kTile<A> + 1];
  const Tile<A> q = TileAt<A>(0, a.head_dim), dout = TileAt<A>(1, a.head_dim), keys = TileAt<A>(2, a.head_dim);
  const Tile<A> values = TileAt<A>(3, a.head_dim), dq = TileAt<A>(4, a.head_dim);
  const StreamBlock block = StreamBlockOf(blockIdx.x, a.tiles, a.heads, /*last_tile_first=*/true);
  const int64_t begin = block.sequence * a.length, key_begin = block.sequence * a.keys;
  const int64_t column = int64_t{block.head} * a.head_dim;
  const int64_t key_column = int64_t{KeyHeadOf(block.head, a.heads, a.kv_heads)} * a.head_dim;
  const StreamSpan span = a.SpanAt(begin);
  const auto [r, lane] = PlaceOf<A>();
  const int first_row = block.tile * kTile<A>, row = first_row + r;
  const int first = row < a.length ? span.FirstKey(row) : 0;
  const A lse = row < a.length ? *a.lse.At(block.head, begin + row).data : A(0);
  const A dot = row < a.length ? *a.dots.At(block.head, begin + row).data : A(0);
  const TileRange tiles = KeyTiles(span, first_row, kTile<A>, kTile<A>);
  Load(q, a.q.At(begin + first_row, column), a.length - first_row, a.head_dim);
  Load(dout, a.dout.At(begin + first_row, column), a.length - first_row, a.head_dim);
  for (int c = lane; c < a.head_dim; c += kTile<A>) dq[r][c] = 0;

  for (int tile = tiles.begin; tile < tiles.end; ++tile) {
    const int key = tile * kTile<A>, count = span.seen_keys() - key;
    __syncthreads();
    Load(keys, a.k.At(key_begin + key, key_column), count, a.head_dim);
    Load(values, a.v.At(key_begin + key, key_column), count, a.head_dim);
    __syncthreads();
    dscores[r][lane] =
        PairOf(row < a.length && Sees(a.offset + row, first, key + lane), a.scale * Dot(q[r], keys[lane], a.head_dim),
               Dot(dout[r], values[lane], a.head_dim), lse, dot)
            .dscore;
    __syncthreads();
    for (int c = lane; c < a.head_dim; c += kTile<A>) {
      A sum = dq[r][c];
      for (int j = 0; j < kTile<A>; ++j) {
        if (dscores[r][j] != 0) sum += dscores[r][j] * keys[j][c];
      }
      dq[r][c] = sum;
    }
  }
  if (row >= a.length) return;
  const Rows<T> to = a.dq.At(begin + row, column);
  for (int c = lane; c < a.head_dim; c += kTile<A>) to.data[c] = T(a.scale * dq[r][c]);
}

template <typename T, typename A = AccumulateType<T>>
__global__ void __launch_bounds__(kThreads<A>) PlainKeyGradientKernel(const PlainArguments<T> a) {
  __shared__ A weights[kTile<A>][kTile<A> + 1], dscores[kTile<A>][kTile<A> + 1];
  const Tile<A> keys = TileAt<A>(0, a.head_dim), values = TileAt<A>(1, a.head_dim), q = TileAt<A>(2, a.head_dim);
  const Tile<A> dout = TileAt<A>(3, a.head_dim), dk = TileAt<A>(4, a.head_dim), dv = TileAt<A>(5, a.head_dim);
  const StreamBlock block = StreamBlockOf(blockIdx.x, a.tiles, a.kv_heads, /*last_tile_first=*/false);
  const int64_t begin = block.sequence * a.length, key_begin = block.sequence * a.keys;
  const int64_t key_column = int64_t{block.head} * a.head_dim;
  const StreamSpan span = a.SpanAt(begin);
  const auto [r, lane] = PlaceOf<A>();
  const int first_of_block = block.tile * kTile<A>, key = first_of_block + r;
  const TileRange tiles = RowTiles(span, first_of_block, kTile<A>, kTile<A>);
  const int count = span.seen_keys() - first_of_block;
  Load(keys, a.k.At(key_begin + first_of_block, key_column), count, a.head_dim);
  Load(values, a.v.At(key_begin + first_of_block, key_column), count, a.head_dim);
  for (int c = lane; c < a.head_dim; c += kTile<A>) dk[r][c] = dv[r][c] = 0;

  for (int h = FirstHeadOf(block.head, a.heads, a.kv_heads); h < FirstHeadOf(block.head + 1, a.heads, a.kv_heads);
       ++h) {
    const int64_t column = int64_t{h} * a.head_dim;
    for (int tile = tiles.begin; tile < tiles.end; ++tile) {
      const int first_row = tile * kTile<A>, row = first_row + lane;
      __syncthreads();
      Load(q, a.q.At(begin + first_row, column), a.length - first_row, a.head_dim);
      Load(dout, a.dout.At(begin + first_row, column), a.length - first_row, a.head_dim);
      __syncthreads();
      const bool sees = row < a.length && Sees(a.offset + row, span.FirstKey(row), key);
      const Pair<A> pair =
          PairOf(sees, a.scale * Dot(q[lane], keys[r], a.head_dim), Dot(dout[lane], values[r], a.head_dim),
                 sees ? *a.lse.At(h, begin + row).data : A(0), sees ? *a.dots.At(h, begin + row).data : A(0));
      weights[r][lane] = pair.weight;
      dscores[r][lane] = pair.dscore;
      __syncthreads();
      for (int c = lane; c < a.head_dim; c += kTile<A>) {
        A key_sum = dk[r][c], value_sum = dv[r][c];
        for (int j = 0; j < kTile<A>; ++j) {
          if (weights[r][j] != 0) value_sum += weights[r][j] * dout[j][c];
          if (dscores[r][j] != 0) key_sum += dscores[r][j] * q[j][c];
        }
        dk[r][c] = key_sum;
        dv[r][c] = value_sum;
      }
    }
  }
  if (key >= a.keys) return;
  const Rows<T> to_keys = a.dk.At(key_begin + key, key_column), to_values = a.dv.At(key_begin + key, key_column);
  for (int c = lane; c < a.head_dim; c += kTile<A>) {
    to_keys.data[c] = T(a.scale * dk[r][c]);
    to_values.data[c] = T(dv[r][c]);
  }
}

// A block for each tile of `rows` rows or keys, of each sequence and head.
template <typename T>
void LaunchTiles(const Context& context, const char* operation, void (*kernel)(PlainArguments<T>), int64_t batch,
                 int64_t rows, int heads, int shared_tiles, PlainArguments<T> a) {
  using A = AccumulateType<T>;
  a.tiles = TilesOf(rows, kTile<A>);
  Launch(context, operation, kernel, dim3(static_cast<unsigned>(batch * heads * a.tiles)), dim3(kThreads<A>),
         SharedBytes<A>(shared_tiles, a.head_dim), a);
}

}  // namespace

void StreamForwardPlain(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                        const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  VisitFloat(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    PlainArguments<T> a = ArgumentsOf<T>(q, k, v, shape);
    a.out = RowsOf<T>(out);
    if (lse.defined()) a.lse = RowsOf<A>(lse);
    LaunchTiles<T>(context, "attention_forward", PlainForwardKernel<T>, shape.batch, shape.length, shape.heads, 3, a);
  });
}

void StreamBackwardPlain(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                         const Tensor& out, const Tensor& lse, const ops::AttentionShape& shape, const Tensor& dq,
                         const Tensor& dk, const Tensor& dv) {
  const Tensor dots = context.Empty(lse.shape(), lse.dtype());
  OutputDots(context, dout, out, shape, dots);
  VisitFloat(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    PlainArguments<T> a = ArgumentsOf<T>(q, k, v, shape);
    a.dout = RowsOf<T>(dout);
    a.dq = RowsOf<T>(dq);
    a.dk = RowsOf<T>(dk);
    a.dv = RowsOf<T>(dv);
    a.lse = RowsOf<A>(lse);
    a.dots = RowsOf<A>(dots);
    LaunchTiles<T>(context, "attention_backward", PlainKeyGradientKernel<T>, shape.batch, shape.key_count(),
                   shape.kv_heads, 6, a);
    LaunchTiles<T>(context, "attention_backward", PlainQueryGradientKernel<T>, shape.batch, shape.length, shape.heads,
                   5, a);
  });
}

}  // namespace photon::cuda
