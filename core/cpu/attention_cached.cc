// Attention of new rows over a cache: of one token in decoding, of a prompt's rows in a prefill.
//
// The query heads that share a key/value head are computed together, so that keys and values are read once for all of
// them, a block at a time. Sums are taken in the order of core/cpu/attention_stream.cc: the results are its bits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/types/span.h"
#include "core/cpu/attention.h"
#include "core/cpu/attention_few_rows.h"
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
              RunningRows<AccumulateType<T>>& running) {
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

// Asks for keys and values of all heads, every `step`-th position of [begin, end): in one head's columns alone, with
// the others between them, the hardware does not see what comes next.
template <typename T>
void Prefetch(absl::Span<const Group<T>> heads, int64_t begin, int64_t end, int64_t step) {
  const int64_t columns = static_cast<int64_t>(heads.size()) * heads[0].head_dim;
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t position = begin; position < end; position += step) {
    for (const HeadRows<const T>& rows : {heads[0].k, heads[0].v}) {
      const T* row = rows.data + position * rows.stride;
      for (int64_t c = 0; c < columns; c += kLine) __builtin_prefetch(row + c, /*write=*/0, /*locality=*/2);
    }
  }
}

// AddBlock for few rows of several heads, from keys and values as they lie in the cache: a few positions at a time of
// all heads, which lie side by side, so that memory is read in its order.
template <typename T, int kRows>
void AddBlockToFewRows(absl::Span<const Group<T>> heads, const CachedScratch<AccumulateType<T>>& scratch,
                       int64_t first_row, int64_t key, Running<AccumulateType<T>>& running) {
  using A = AccumulateType<T>;
  constexpr int n = kLanes<A>;
  alignas(64) A all_scores[kBlock * kBlock];  // [heads][kRows][kBlock]
  const Group<T>& first = heads[0];           // all are alike
  const int64_t seen = std::min<int64_t>(first.end(first_row + kRows - 1) - key, kBlock);
  const bool masked = first.end(first_row) < key + kBlock;
  const auto scores = [&](size_t h) { return all_scores + h * kRows * kBlock; };
  const auto row = [&](A* rows, size_t h) { return rows + h * kRows * scratch.columns; };
  const auto from = [key](const HeadRows<const T>& rows, int64_t position) {
    return HeadRows<const T>{rows.data + (key + position) * rows.stride, rows.stride};
  };
  // While head h is computed, its part of what all heads have two steps later is asked for.
  const int64_t part = n * first.k.stride / static_cast<int64_t>(heads.size());
  const auto ask = [&](const HeadRows<const T>& rows, int64_t position, size_t h) {
    const T* ahead = from(rows, position + 2 * n).data + h * part;
    for (int64_t at = 0; at < part; at += 64 / sizeof(T)) __builtin_prefetch(ahead + at, /*write=*/0, /*locality=*/2);
  };
  for (int64_t i = 0; i < seen; i += n) {
    for (size_t h = 0; h < heads.size(); ++h) {
      ask(first.k, i, h);
      ScoreKeys<T, kRows>({row(scratch.q, h), scratch.columns}, from(heads[h].k, i), std::min<int64_t>(n, seen - i),
                          first.head_dim, {scores(h) + i, kBlock});
    }
  }
  for (size_t h = 0; h < heads.size(); ++h) {
    RunningRows<A> of_head(running, static_cast<int>(h) * kRows);
    SoftmaxTile(heads[h], first_row, 0, kRows, key, static_cast<int>((seen + n - 1) / n), masked, scores(h), of_head,
                {row(scratch.out, h), scratch.columns}, scratch.columns);
  }
  const auto add = masked ? AddValues<T, kRows, true> : AddValues<T, kRows, false>;
  for (int64_t i = 0; i < seen; i += n) {
    for (size_t h = 0; h < heads.size(); ++h) {
      ask(first.v, i, h);
      add({scores(h) + i, kBlock}, from(heads[h].v, i), std::min<int64_t>(n, seen - i), first.head_dim,
          {row(scratch.out, h), scratch.columns});
    }
  }
}

// Rows [first_row, first_row + rows) of several heads, kBlock together at most. A block of keys is gone through for all
// heads before the next one: heads lie side by side in memory, which is read in its order.
template <typename T>
void AttendRows(absl::Span<const Group<T>> heads, const CachedScratch<AccumulateType<T>>& scratch, int64_t first_row,
                int rows) {
  using A = AccumulateType<T>;
  const int64_t d = heads[0].head_dim, columns = scratch.columns;
  const int all = static_cast<int>(heads.size()) * rows;
  const A scale = 1 / std::sqrt(A(d));
  for (int i = 0; i < all; ++i) {
    const Group<T>& head = heads[i / rows];
    CopyIn<T>({head.q.data + head.at(first_row + i % rows, head.q.stride), 0}, 1, d, {scratch.q + i * columns, columns},
              scale);
  }
  std::fill(scratch.out, scratch.out + all * columns, A(0));
  Running<A> running(all);
  const int64_t keys = heads[0].end(first_row + rows - 1);
  for (int64_t key = 0; key < keys; key += kBlock) {
    if (TakesFewRows<A>(rows, d)) {
      const auto add = rows == 1 ? AddBlockToFewRows<T, 1> : AddBlockToFewRows<T, 2>;
      add(heads, scratch, first_row, key, running);
      continue;
    }
    const int64_t count = std::min<int64_t>(kBlock, keys - key);
    for (size_t h = 0; h < heads.size(); ++h) {
      const int row = static_cast<int>(h) * rows;
      const auto all_heads = static_cast<int64_t>(heads.size());
      Prefetch(heads, key + count + static_cast<int64_t>(h), std::min(key + 2 * kBlock, keys), all_heads);
      CachedScratch<A> own = scratch;
      own.q += row * columns;
      own.out += row * columns;
      RunningRows<A> of_head(running, row);
      const auto unpack = [&](HeadRows<const T> from, A* buffer) {
        return Unpack<T>({from.data + key * from.stride, from.stride}, count, d, Panel<A>{buffer, columns});
      };
      TransposeRows<A>(unpack(heads[h].k, scratch.keys), count, columns, {scratch.transposed, kBlock});
      AddBlock(heads[h], own, unpack(heads[h].v, scratch.values), first_row, rows, key, of_head);
    }
  }
  for (int i = 0; i < all; ++i) {
    const Group<T>& head = heads[i / rows];
    A* row = scratch.out + i * columns;
    NormalizeRow(running, i, row, columns);
    CopyOut<T>({row, columns}, 1, d, {head.out.data + head.at(first_row + i % rows, head.out.stride), 0});
  }
}

// All rows of the heads. Heads whose groups differ in size by one go one after the other.
template <typename T>
void Attend(absl::Span<const Group<T>> heads, const CachedScratch<AccumulateType<T>>& scratch) {
  for (size_t begin = 0; begin < heads.size();) {
    size_t end = begin + 1;
    while (end < heads.size() && heads[end].rows == heads[begin].rows) ++end;
    const absl::Span<const Group<T>> alike = heads.subspan(begin, end - begin);
    const int64_t step = std::max<int64_t>(kBlock / static_cast<int64_t>(alike.size()), 1);
    for (int64_t row = 0; row < alike[0].rows; row += step) {
      AttendRows(alike, scratch, row, static_cast<int>(std::min(step, alike[0].rows - row)));
    }
    begin = end;
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
    const int64_t most = (shape.heads + shape.kv_heads - 1) / shape.kv_heads;  // query heads of a key/value head
    // As many heads together as have a block of rows, but enough items for all threads.
    const int64_t together = std::clamp<int64_t>(
        std::min(kBlock / (table.rows * most), sequences * shape.kv_heads / omp_get_max_threads()), 1, shape.kv_heads);
    const int64_t parts = (shape.kv_heads + together - 1) / together;
    const int64_t grain = CachedGrain(table.rows * most * together, most_keys, d);
    ParallelFor(sequences * parts, grain, [&](int64_t begin, int64_t end) {
      const CachedScratch<A> scratch(memory.ThisThread(), d);
      std::vector<Group<T>> heads;
      for (int64_t item = begin; item < end; ++item) {
        const int64_t sequence = item / parts, part = item % parts;
        const CacheSides cache(table, sequence, width, sizeof(T));
        heads.clear();
        for (int64_t g = part * together; g < std::min<int64_t>((part + 1) * together, shape.kv_heads); ++g) {
          const int first = FirstQueryHead(static_cast<int>(g), shape.heads, shape.kv_heads);
          const int64_t own = FirstQueryHead(static_cast<int>(g) + 1, shape.heads, shape.kv_heads) - first;
          heads.push_back({.q = RowsOf<const T>(q, sequence * table.rows, first * d),
                           .k = {reinterpret_cast<const T*>(cache.keys) + g * d, width},
                           .v = {reinterpret_cast<const T*>(cache.values) + g * d, width},
                           .out = RowsOf<T>(out, sequence * table.rows, first * d),
                           .heads = own,
                           .rows = table.rows * own,
                           .head_dim = d,
                           .offset = cache.length});
        }
        Attend<T>(heads, scratch);
      }
    });
  });
}

}  // namespace photon::cpu
