// Attention of new rows over a cache: of one token in decoding, of a prompt's rows in a prefill.
//
// The query heads that share a key/value head are computed together, so that keys and values are read once for all of
// them, a block at a time. Sums are taken in the order of core/cpu/attention_stream.cc: the results are its bits.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/cpu/attention.h"
#include "core/cpu/attention_softmax.h"
#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"

namespace photon::cpu {
namespace {

// A sequence's new rows for one key/value head: row i is position offset + i / group of query head i % group.
template <typename T>
struct Group {
  HeadRows<const T> q, k, v;  // q: of the first head; the others' columns follow
  HeadRows<T> out;
  int64_t heads;
  int64_t rows;  // positions times heads
  int64_t head_dim;
  int64_t offset;

  int64_t begin(int64_t) const { return 0; }
  int64_t end(int64_t row) const { return offset + row / heads + 1; }
  int64_t at(int64_t row, int64_t stride) const { return row / heads * stride + row % heads * head_dim; }
};

// The thread's memory: a block of queries, of outputs, of keys (as they are, then transposed) and of values.
template <typename A>
struct CachedScratch {
  static int64_t Elements(int64_t head_dim) { return 5 * kBlock * PaddedColumns<A>(head_dim); }
  CachedScratch(A* memory, int64_t head_dim)
      : columns(PaddedColumns<A>(head_dim)),
        q(memory),
        out(q + kBlock * columns),
        keys(out + kBlock * columns),
        transposed(keys + kBlock * columns),
        values(transposed + kBlock * columns) {}
  int64_t columns;
  A *q, *out, *keys, *transposed, *values;
};

// Rows [first_row, first_row + rows) of the group against keys [key, key + count), transposed, and their values.
template <typename T>
void AddBlock(const Group<T>& group, const CachedScratch<AccumulateType<T>>& scratch,
              Panel<const AccumulateType<T>> values, int64_t first_row, int rows, int64_t key,
              Running<AccumulateType<T>>& running) {
  using A = AccumulateType<T>;
  constexpr int n = kLanes<A>;
  alignas(64) A scores[kTileRows * kBlock];
  for (int row = 0; row < rows; row += kTileRows) {
    const int count = std::min(kTileRows, rows - row);
    const int64_t tile = first_row + row;
    const int64_t seen = std::min<int64_t>(group.end(tile + count - 1) - key, kBlock);
    if (seen <= 0) continue;
    const bool masked = group.end(tile) < key + kBlock;
    const int vectors = static_cast<int>((seen + n - 1) / n);
    const Panel<A> out = {scratch.out + row * scratch.columns, scratch.columns};
    Multiply<false, A>(count, {scratch.q + row * scratch.columns, scratch.columns, 1}, {scratch.transposed, kBlock},
                       group.head_dim, {scores, kBlock}, vectors, /*add=*/false);
    SoftmaxTile(group, first_row, row, count, key, vectors, masked, scores, running, out, scratch.columns);
    const auto multiply = masked ? Multiply<true, A> : Multiply<false, A>;
    multiply(count, {scores, kBlock, 1}, values, seen, out, static_cast<int>(scratch.columns / n), /*add=*/true);
  }
}

template <typename T>
void AttendRows(const Group<T>& group, const CachedScratch<AccumulateType<T>>& scratch, int64_t first_row, int rows) {
  using A = AccumulateType<T>;
  const int64_t d = group.head_dim;
  const int64_t columns = scratch.columns;
  const A scale = 1 / std::sqrt(A(d));
  for (int r = 0; r < rows; ++r) {
    CopyIn<T>({group.q.data + group.at(first_row + r, group.q.stride), 0}, 1, d, {scratch.q + r * columns, columns},
              scale);
  }
  std::fill(scratch.out, scratch.out + rows * columns, A(0));
  Running<A> running(rows);
  const int64_t keys = group.end(first_row + rows - 1);
  for (int64_t key = 0; key < keys; key += kBlock) {
    const int64_t count = std::min<int64_t>(kBlock, keys - key);
    const auto unpack = [&](HeadRows<const T> from, A* buffer) {
      return Unpack<T>({from.data + key * from.stride, from.stride}, count, d, Panel<A>{buffer, columns});
    };
    TransposeRows<A>(unpack(group.k, scratch.keys), count, columns, {scratch.transposed, kBlock});
    AddBlock(group, scratch, unpack(group.v, scratch.values), first_row, rows, key, running);
  }
  for (int r = 0; r < rows; ++r) {
    A* row = scratch.out + r * columns;
    NormalizeRow(running, r, row, columns);
    CopyOut<T>({row, columns}, 1, d, {group.out.data + group.at(first_row + r, group.out.stride), 0});
  }
}

// Key/value heads that a thread must have to be worth waking: some 10 us. Blocks are unpacked and transposed whatever
// the number of rows, which costs about as much as two of them.
int64_t CachedGrain(int64_t rows, int64_t keys, int64_t head_dim) {
  return (int64_t{1} << 18) / ((rows + 2) * keys * head_dim) + 1;
}

// One layer of one sequence's cache.
struct CacheSides {
  CacheSides(const ops::CacheTable& table, int64_t sequence, int64_t width, size_t element)
      : row_bytes(width * element), length(table.lengths.data<int32_t>()[sequence]) {
    const int64_t capacity = table.capacities.data<int64_t>()[sequence];
    keys = reinterpret_cast<char*>(table.bases.data<int64_t>()[sequence]) + 2 * table.layer * capacity * row_bytes;
    values = keys + capacity * row_bytes;
  }
  int64_t row_bytes, length;
  char *keys, *values;
};

}  // namespace

void AppendToCaches(const Context& context, const Tensor& qkv, const ops::CacheTable& table,
                    const ops::AttentionShape& shape, const Tensor& rope_table) {
  const int64_t keys_at = shape.heads * shape.head_dim, width = shape.kv_heads * shape.head_dim;
  const Tensor positions = context.Empty({qkv.dim(0)}, DType::kI32);
  for (int64_t row = 0; row < qkv.dim(0); ++row) {
    positions.data<int32_t>()[row] =
        table.lengths.data<int32_t>()[row / table.rows] + static_cast<int32_t>(row % table.rows);
  }
  Rope(context, qkv.Columns(0, keys_at + width), shape.head_dim, positions, rope_table, /*inverse=*/false);
  const size_t element = ByteSize(qkv.dtype());
  ParallelFor(qkv.dim(0), RowGrain(2 * width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const CacheSides cache(table, row / table.rows, width, element);
      const int64_t at = (cache.length + row % table.rows) * cache.row_bytes;
      const char* from = static_cast<const char*>(qkv.raw()) + (row * qkv.stride(0) + keys_at) * element;
      std::memcpy(cache.keys + at, from, cache.row_bytes);
      std::memcpy(cache.values + at, from + cache.row_bytes, cache.row_bytes);
    }
  });
}

void CachedAttention(const Context& context, const Tensor& q, const ops::CacheTable& table,
                     const ops::AttentionShape& shape, const Tensor& out) {
  const int64_t sequences = table.lengths.dim(0);
  const int32_t* lengths = table.lengths.data<int32_t>();
  const int64_t most_keys = *std::max_element(lengths, lengths + sequences) + table.rows;
  VisitFloat(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const int64_t d = shape.head_dim, width = shape.kv_heads * d;
    const ThreadScratch<A> memory(context, CachedScratch<A>::Elements(d));
    const int64_t heads = (shape.heads + shape.kv_heads - 1) / shape.kv_heads;
    const int64_t grain = CachedGrain(table.rows * heads, most_keys, d);
    ParallelFor(sequences * shape.kv_heads, grain, [&](int64_t begin, int64_t end) {
      const CachedScratch<A> scratch(memory.ThisThread(), d);
      for (int64_t item = begin; item < end; ++item) {
        const int64_t sequence = item / shape.kv_heads;
        const CacheSides cache(table, sequence, width, sizeof(T));
        const int g = static_cast<int>(item % shape.kv_heads);
        const int first = FirstQueryHead(g, shape.heads, shape.kv_heads);
        const int64_t own = FirstQueryHead(g + 1, shape.heads, shape.kv_heads) - first;
        const Group<T> group = {.q = RowsOf<const T>(q, sequence * table.rows, first * d),
                                .k = {reinterpret_cast<const T*>(cache.keys) + g * d, width},
                                .v = {reinterpret_cast<const T*>(cache.values) + g * d, width},
                                .out = RowsOf<T>(out, sequence * table.rows, first * d),
                                .heads = own,
                                .rows = table.rows * own,
                                .head_dim = d,
                                .offset = cache.length};
        for (int64_t row = 0; row < group.rows; row += kBlock) {
          AttendRows(group, scratch, row, static_cast<int>(std::min<int64_t>(kBlock, group.rows - row)));
        }
      }
    });
  });
}

}  // namespace photon::cpu
