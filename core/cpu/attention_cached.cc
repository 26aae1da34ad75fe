// Attention of new rows over a cache: of one token in decoding, of a prompt's rows in a prefill.
//
// The query heads that share a key/value head are computed together, so that keys and values are read once for all of
// them, a block at a time. Sums are taken in the order of core/cpu/attention_stream.cc: the results are its bits.
#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/types/span.h"
#include "core/cpu/attention.h"
#include "core/cpu/attention_few_rows.h"
#include "core/cpu/attention_softmax.h"
#include "core/cpu/cache_blocks.h"
#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"

namespace photon::cpu {
namespace {

// A sequence's new rows for one key/value head: row i is position offset + i / group of query head i % group.
template <typename T>
struct Group {
  HeadRows<const T> q;  // of the first head; the others' columns follow
  HeadRows<T> out;
  CacheBlocks<const T> cache;
  int64_t column;  // of the cache: the head's first
  int64_t heads;
  int64_t rows;  // positions times heads
  int64_t head_dim;
  int64_t offset;

  int64_t begin(int64_t) const { return 0; }
  int64_t end(int64_t row) const { return offset + row / heads + 1; }
  int64_t at(int64_t row, int64_t stride) const { return row / heads * stride + row % heads * head_dim; }
};

// The thread's memory: a block of queries, of outputs, of keys, transposed, and of values.
template <typename A>
struct CachedScratch {
  static int64_t Elements(int64_t head_dim) { return 4 * kBlock * PaddedColumns<A>(head_dim); }
  CachedScratch(A* memory, int64_t head_dim)
      : columns(PaddedColumns<A>(head_dim)),
        q(memory),
        out(q + kBlock * columns),
        keys(out + kBlock * columns),
        values(keys + kBlock * columns) {}
  int64_t columns;
  A *q, *out, *keys, *values;
};

// Rows [first_row, first_row + rows) of the group against a block of keys from `key` on, transposed, and their values.
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
    Multiply<false, A>(count, {scratch.q + row * scratch.columns, scratch.columns, 1}, {scratch.keys, kBlock},
                       group.head_dim, {scores, kBlock}, vectors, /*add=*/false);
    SoftmaxTile(group, first_row, row, count, key, vectors, masked, scores, running, out, scratch.columns);
    const auto multiply = masked ? Multiply<true, A> : Multiply<false, A>;
    multiply(count, {scores, kBlock, 1}, values, seen, out, static_cast<int>(scratch.columns / n), /*add=*/true);
  }
}

// The head's keys of positions [key, key + count) as [head_dim, kBlock], whole vectors of them.
template <typename T>
void UnpackKeys(const Group<T>& head, int64_t key, int64_t count, AccumulateType<T>* to) {
  using A = AccumulateType<T>;
  constexpr int64_t n = kLanes<A>;
  const T* keys = head.cache.Keys(key, head.column);
  const int64_t m = head.cache.Positions(key);
  for (int64_t i = 0; i < count; i += n) {
    const auto unpack = [&](auto lanes) {
      ForEachColumn(keys + i * CacheBlocks<T>::kPack, m, head.head_dim, lanes,
                    [&](int64_t column, Vec<A> x) { Store(to + column * kBlock + i, x); });
    };
    i + n <= m ? unpack(AllLanes{}) : unpack(FirstLanes{m - i});
  }
}

template <typename T>
HeadRows<const T> Values(const Group<T>& head, int64_t key) {
  return {head.cache.Values(key, head.column), head.head_dim};
}

// AddBlock for few rows, from keys and values as they lie in the cache.
template <typename T, int kRows>
void AddBlockToFewRows(const Group<T>& head, const CachedScratch<AccumulateType<T>>& scratch, int64_t first_row,
                       int64_t key, RunningRows<AccumulateType<T>>& running) {
  using A = AccumulateType<T>;
  alignas(64) A scores[kRows * kBlock];
  const int64_t seen = std::min<int64_t>(head.end(first_row + kRows - 1) - key, kBlock);
  const bool masked = head.end(first_row) < key + kBlock;
  const Panel<A> out = {scratch.out, scratch.columns};
  ScoreKeys<T, kRows>({scratch.q, scratch.columns}, head.cache.Keys(key, head.column), head.cache.Positions(key), seen,
                      head.head_dim, {scores, kBlock});
  SoftmaxTile(head, first_row, 0, kRows, key, static_cast<int>((seen + kLanes<A> - 1) / kLanes<A>), masked, scores,
              running, out, scratch.columns);
  // A single row sees all that is added, if with weights that may be 0; of two, one may not see what the other does.
  const auto add = kRows > 1 && masked ? AddValues<T, kRows, true> : AddValues<T, kRows, false>;
  add({scores, kBlock}, Values(head, key), seen, head.head_dim, out);
}

// Rows [first_row, first_row + rows) of several heads, kBlock together at most. A block of keys is gone through for all
// heads before the next one: they lie side by side in memory.
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
    for (size_t h = 0; h < heads.size(); ++h) {
      const Group<T>& head = heads[h];
      const int row = static_cast<int>(h) * rows;
      CachedScratch<A> own = scratch;
      own.q += row * columns;
      own.out += row * columns;
      RunningRows<A> of_head(running, row);
      if (TakesFewRows<A>(rows, d)) {
        const auto add = rows == 1 ? AddBlockToFewRows<T, 1> : AddBlockToFewRows<T, 2>;
        add(head, own, first_row, key, of_head);
        continue;
      }
      const int64_t count = std::min<int64_t>(kBlock, keys - key);
      UnpackKeys(head, key, count, scratch.keys);
      const auto values = Unpack<T>(Values(head, key), count, d, Panel<A>{scratch.values, columns});
      AddBlock(head, own, values, first_row, rows, key, of_head);
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

// Items of `heads` key/value heads that a thread must have to be worth waking: some 10 us. To read a key and a value
// takes about as long as two rows' arithmetic.
int64_t CachedGrain(int64_t heads, int64_t rows, int64_t keys, int64_t head_dim) {
  return (int64_t{1} << 17) / (heads * (rows + 2) * keys * head_dim) + 1;
}

// One layer of a cache.
template <typename T>
CacheBlocks<T> Layer(const ops::CacheTable& table, int64_t sequence, const ops::AttentionShape& shape) {
  const int64_t capacity = table.capacities.data<int64_t>()[sequence], width = shape.kv_heads * shape.head_dim;
  T* block = reinterpret_cast<T*>(table.bases.data<int64_t>()[sequence]);
  return {block + 2 * table.layer * capacity * width, capacity, width, shape.head_dim};
}

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
  VisitFloat(qkv.dtype(), [&](auto tag) {
    using T = decltype(tag);
    ParallelFor(qkv.dim(0), RowGrain(2 * width), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* key = qkv.data<T>() + row * qkv.stride(0) + keys_at;
        Layer<T>(table, row / table.rows, shape).Write(positions.data<int32_t>()[row], key, key + width);
      }
    });
  });
}

void CopyCache(const Context&, const Tensor& from, const Tensor& to, int64_t positions, int64_t head_dim) {
  VisitFloat(from.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const auto layer = [&](const Tensor& block, int64_t i) {
      const int64_t capacity = block.dim(2), width = block.dim(3);
      return CacheBlocks<T>{block.data<T>() + 2 * i * capacity * width, capacity, width, head_dim};
    };
    constexpr int64_t kPositions = CacheBlocks<T>::kPositions;
    const int64_t blocks = (positions + kPositions - 1) / kPositions;
    ParallelFor(from.dim(0) * blocks, RowGrain(2 * kPositions * from.dim(3)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % blocks * kPositions;
        layer(from, i / blocks).CopyBlockTo(layer(to, i / blocks), first, std::min(positions - first, kPositions));
      }
    });
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
    const int64_t d = shape.head_dim;
    const ThreadScratch<A> memory(context, CachedScratch<A>::Elements(d));
    const int64_t most = (shape.heads + shape.kv_heads - 1) / shape.kv_heads;  // query heads of a key/value head
    // As many heads together as have a block of rows, but enough items for all threads: a cache is read from front to
    // back then. Head by head, one-row attention of 32 sequences takes a tenth to a sixth longer.
    const int64_t together = std::clamp<int64_t>(
        std::min(kBlock / (table.rows * most), sequences * shape.kv_heads / omp_get_max_threads()), 1, shape.kv_heads);
    const int64_t parts = (shape.kv_heads + together - 1) / together;
    const int64_t grain = CachedGrain(together, table.rows * most, most_keys, d);
    ParallelFor(sequences * parts, grain, [&](int64_t begin, int64_t end) {
      const CachedScratch<A> scratch(memory.ThisThread(), d);
      std::vector<Group<T>> heads;
      for (int64_t item = begin; item < end; ++item) {
        const int64_t sequence = item / parts, part = item % parts;
        const CacheBlocks<const T> cache = Layer<const T>(table, sequence, shape);
        heads.clear();
        for (int64_t g = part * together; g < std::min<int64_t>((part + 1) * together, shape.kv_heads); ++g) {
          const int first = FirstQueryHead(static_cast<int>(g), shape.heads, shape.kv_heads);
          const int64_t own = FirstQueryHead(static_cast<int>(g) + 1, shape.heads, shape.kv_heads) - first;
          heads.push_back({.q = RowsOf<const T>(q, sequence * table.rows, first * d),
                           .out = RowsOf<T>(out, sequence * table.rows, first * d),
                           .cache = cache,
                           .column = g * d,
                           .heads = own,
                           .rows = table.rows * own,
                           .head_dim = d,
                           .offset = lengths[sequence]});
        }
        Attend<T>(heads, scratch);
      }
    });
  });
}

}  // namespace photon::cpu
