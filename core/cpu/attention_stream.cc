// Forward attention over long streams, in blocks of keys with a running softmax.
#include "core/cpu/attention_stream.h"

#include <cmath>

#include "core/cpu/attention.h"
#include "core/cpu/attention_softmax.h"
#include "core/cpu/parallel_for.h"

namespace photon::cpu {
namespace {

// One query head against the keys and values that its rows see.
template <typename T>
struct Stream {
  HeadRows<const T> q, k, v;
  HeadRows<T> out;
  AccumulateType<T>* lse;  // null: not wanted
  int64_t rows;
  int64_t keys;
  int64_t head_dim;
  StreamMask mask;
};

// The thread's memory: the head's keys, transposed, and its values; a block of queries and of outputs.
template <typename A>
struct ForwardScratch {
  static int64_t Elements(int64_t keys, int64_t head_dim) {
    return 2 * BlockedElements<A>(keys, head_dim) + 2 * kBlock * PaddedColumns<A>(head_dim);
  }
  ForwardScratch(A* memory, int64_t most_keys, int64_t head_dim)
      : columns(PaddedColumns<A>(head_dim)),
        keys(memory),
        values(keys + BlockedElements<A>(most_keys, head_dim)),
        q(values + BlockedElements<A>(most_keys, head_dim)),
        out(q + kBlock * columns) {}
  int64_t columns;
  A *keys, *values, *q, *out;
};

// Rows [first_row, first_row + rows) of the stream against all they see.
template <typename T>
void ForwardBlock(const Stream<T>& stream, const ForwardScratch<AccumulateType<T>>& scratch,
                  Panel<const AccumulateType<T>> values, int64_t first_row, int rows) {
  using A = AccumulateType<T>;
  constexpr int n = kLanes<A>;
  const int64_t d = stream.head_dim;
  const int64_t columns = scratch.columns;
  const A scale = 1 / std::sqrt(A(d));
  CopyIn<T>({stream.q.data + first_row * stream.q.stride, stream.q.stride}, rows, d, {scratch.q, columns}, scale);
  std::fill(scratch.out, scratch.out + rows * columns, A(0));
  Running<A> running(rows);
  alignas(64) A scores[kTileRows * kBlock];

  const int64_t all_begin = stream.mask.Begins(first_row, rows).first;
  for (int64_t key = all_begin / kBlock * kBlock; key < stream.mask.end(first_row + rows - 1); key += kBlock) {
    for (int row = 0; row < rows; row += kTileRows) {
      const int count = std::min(kTileRows, rows - row);
      const int64_t tile = first_row + row;
      const int64_t seen = std::min<int64_t>(stream.mask.end(tile + count - 1) - key, kBlock);
      if (seen <= 0) continue;
      const auto [low, high] = stream.mask.Begins(tile, count);
      if (low >= key + seen) continue;
      const bool masked = high > key || stream.mask.end(tile) < key + kBlock;
      const int vectors = static_cast<int>((seen + n - 1) / n);
      const Panel<A> out = {scratch.out + row * columns, columns};
      Multiply<false, A>(count, {scratch.q + row * columns, columns, 1}, {scratch.keys + key * columns, kBlock}, d,
                         {scores, kBlock}, vectors, /*add=*/false);
      SoftmaxTile(stream.mask, first_row, row, count, key, vectors, masked, scores, running, out, columns);
      const auto multiply = masked ? Multiply<true, A> : Multiply<false, A>;
      multiply(count, {scores, kBlock, 1}, {values.data + key * values.stride, values.stride}, seen, out,
               static_cast<int>(columns / n), /*add=*/true);
    }
  }
  for (int r = 0; r < rows; ++r) {
    const A total = NormalizeRow(running, r, scratch.out + r * columns, columns);
    if (stream.lse != nullptr) stream.lse[first_row + r] = running.largest[r] + std::log(total);
  }
  CopyOut<T>({scratch.out, columns}, rows, d, {stream.out.data + first_row * stream.out.stride, stream.out.stride});
}

template <typename T>
void ForwardStream(const Stream<T>& stream, const ForwardScratch<AccumulateType<T>>& scratch) {
  using A = AccumulateType<T>;
  // The keys pass through the values' buffer on their way into the transposed one.
  const Panel<A> buffer = {scratch.values, scratch.columns};
  TransposeBlocks(Unpack<T>(stream.k, stream.keys, stream.head_dim, buffer), stream.keys, stream.head_dim,
                  scratch.keys);
  const Panel<const A> values = Unpack<T>(stream.v, stream.keys, stream.head_dim, buffer);
  for (int64_t row = 0; row < stream.rows; row += kBlock) {
    ForwardBlock(stream, scratch, values, row, static_cast<int>(std::min<int64_t>(kBlock, stream.rows - row)));
  }
}

}  // namespace

void StreamForward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                   const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  VisitFloat(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const int64_t d = shape.head_dim;
    const int64_t keys = shape.seen_keys();
    const ThreadScratch<A> memory(context, ForwardScratch<A>::Elements(keys, d));
    ParallelFor(shape.batch * shape.heads, StreamGrain(shape.length, keys, d), [&](int64_t begin, int64_t end) {
      const ForwardScratch<A> scratch(memory.ThisThread(), keys, d);
      for (int64_t item = begin; item < end; ++item) {
        const int64_t row = item / shape.heads * shape.length;
        const int64_t key = item / shape.heads * shape.key_count();
        const int64_t h = item % shape.heads;
        const int64_t g = h * shape.kv_heads / shape.heads;
        const int32_t* first = shape.first_key.defined() ? shape.first_key.data<int32_t>() + row : nullptr;
        ForwardStream<T>({.q = RowsOf<const T>(q, row, h * d),
                          .k = RowsOf<const T>(k, key, g * d),
                          .v = RowsOf<const T>(v, key, g * d),
                          .out = RowsOf<T>(out, row, h * d),
                          .lse = lse.defined() ? lse.data<A>() + h * lse.stride(0) + row : nullptr,
                          .rows = shape.length,
                          .keys = keys,
                          .head_dim = d,
                          .mask = {.first = first, .offset = shape.offset}},
                         scratch);
      }
    });
  });
}

}  // namespace photon::cpu
