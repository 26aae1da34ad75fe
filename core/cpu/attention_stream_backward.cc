// Backward attention over long streams: probabilities are recomputed a block at a time from the saved log-sum-exp.
//
// One thread does all query heads of a key/value head, so that sums over them have one order and no races.
#include <cmath>

#include "core/cpu/attention.h"
#include "core/cpu/attention_stream.h"
#include "core/cpu/parallel_for.h"

namespace photon::cpu {
namespace {

struct Tensors {
  const Tensor &dout, &q, &k, &v, &out, &lse, &dq, &dk, &dv;
};

// The thread's memory: keys and values of a head, plain and transposed, their gradients, and a block of everything that
// belongs to queries.
template <typename A>
struct BackwardScratch {
  static int64_t Elements(int64_t keys, int64_t head_dim) {
    return 5 * BlockedElements<A>(keys, head_dim) + 3 * kBlock * PaddedColumns<A>(head_dim) + 2 * kBlock * kBlock;
  }
  BackwardScratch(A* memory, int64_t most_keys, int64_t head_dim)
      : columns(PaddedColumns<A>(head_dim)), block(kBlock * columns) {
    const auto take = [&](int64_t elements) { return std::exchange(memory, memory + elements); };
    for (A** p : {&keys, &keys_transposed, &values_transposed, &dk, &dv}) {
      *p = take(BlockedElements<A>(most_keys, head_dim));
    }
    for (A** p : {&q, &dout, &dq}) *p = take(block);
    for (A** p : {&probability, &dscore}) *p = take(kBlock * kBlock);
  }
  int64_t columns, block;
  A *keys, *keys_transposed, *values_transposed, *dk, *dv;
  A *q, *dout, *dq;
  A *probability, *dscore;
};

// A block of rows of one query head.
template <typename A>
struct RowBlock {
  int64_t row;  // of the call's rows of the sequence
  int rows;
  StreamMask mask;
  alignas(64) A lse[kBlock];
  alignas(64) A dot[kBlock];  // dout . out

  bool Masked(int64_t key) const { return mask.Begins(row, rows).second > key || mask.end(row) < key + kBlock; }
};

// A row of probability = exp(q k^T - lse) and dscore = probability * (dout v^T - dot), zeros where hidden. `vectors`:
// of the keys that any row of the tile sees; the rest of the block is left as it is.
template <typename A>
void ScoreRow(const RowBlock<A>& block, int row, int64_t key, int vectors, bool masked, A* probability, A* dscore) {
  constexpr int n = kLanes<A>;
  const Vec<A> lse = Broadcast(block.lse[row]);
  const Vec<A> dot = Broadcast(block.dot[row]);
  const int64_t i = block.row + row;
  for (int x = 0; x < vectors; ++x) {
    Vec<A> p = Exp(Load(probability + x * n) - lse);
    Vec<A> ds = p * (Load(dscore + x * n) - dot);
    if (masked) {
      const auto visible = Visible<A>(key + x * n, block.mask.begin(i), block.mask.end(i));
      p = visible ? p : Vec<A>{};
      ds = visible ? ds : Vec<A>{};
    }
    Store(probability + x * n, p);
    Store(dscore + x * n, ds);
  }
}

// One block of rows against one block of keys; `keys` are all of the sequence, untransposed.
template <typename A, bool kMasked>
void BackwardBlock(const RowBlock<A>& block, const BackwardScratch<A>& s, Panel<const A> keys, int64_t key,
                   int64_t key_count, int64_t head_dim) {
  constexpr int n = kLanes<A>;
  const int64_t columns = s.columns;
  const int vectors = static_cast<int>(columns / n);
  const auto seen_by = [&](int row) { return std::min(key_count, block.mask.end(block.row + row) - key); };  // causally
  for (int row = 0; row < block.rows; row += kTileRows) {
    const int count = std::min(kTileRows, block.rows - row);
    const int64_t seen = seen_by(row + count - 1);
    if (seen <= 0) continue;
    const int score_vectors = static_cast<int>((seen + n - 1) / n);
    A* probability = s.probability + row * kBlock;
    A* dscore = s.dscore + row * kBlock;
    Multiply<false, A>(count, {s.q + row * columns, columns, 1}, {s.keys_transposed + key * columns, kBlock}, head_dim,
                       {probability, kBlock}, score_vectors, /*add=*/false);
    Multiply<false, A>(count, {s.dout + row * columns, columns, 1}, {s.values_transposed + key * columns, kBlock},
                       head_dim, {dscore, kBlock}, score_vectors, /*add=*/false);
    for (int r = 0; r < count; ++r) {
      ScoreRow(block, row + r, key, score_vectors, kMasked, probability + r * kBlock, dscore + r * kBlock);
    }
    Multiply<kMasked, A>(count, {dscore, kBlock, 1}, {keys.data + key * keys.stride, keys.stride}, seen,
                         {s.dq + row * columns, columns}, vectors, /*add=*/true);
  }
  for (int j = 0; j < key_count; j += kTileRows) {  // keys from `j` on are seen from their own row on
    const int64_t own = std::max<int64_t>(0, key + j - block.mask.offset - block.row);
    if (own >= block.rows) break;
    const int64_t from = own / kTileRows * kTileRows;
    const int count = static_cast<int>(std::min<int64_t>(kTileRows, key_count - j));
    const int64_t target = (key + j) * columns;
    Multiply<kMasked, A>(count, {s.probability + from * kBlock + j, 1, kBlock}, {s.dout + from * columns, columns},
                         block.rows - from, {s.dv + target, columns}, vectors, /*add=*/true);
    Multiply<kMasked, A>(count, {s.dscore + from * kBlock + j, 1, kBlock}, {s.q + from * columns, columns},
                         block.rows - from, {s.dk + target, columns}, vectors, /*add=*/true);
  }
}

// dout . out of a row.
template <typename T>
AccumulateType<T> Dot(const T* a, const T* b, int64_t columns) {
  using A = AccumulateType<T>;
  A sum = 0;
  Vec<A> sums = {};
  int64_t c = 0;
  for (; c + kLanes<A> <= columns; c += kLanes<A>) sums += Load(a + c) * Load(b + c);
  for (; c < columns; ++c) sum += static_cast<A>(a[c]) * static_cast<A>(b[c]);
  return sum + Sum<A>(sums);
}

template <typename T>
void BackwardRows(const Tensors& t, const ops::AttentionShape& shape, int64_t sequence_row, int h, int64_t first_row,
                  Panel<const AccumulateType<T>> keys, const BackwardScratch<AccumulateType<T>>& s) {
  using A = AccumulateType<T>;
  const int64_t d = shape.head_dim;
  const A scale = 1 / std::sqrt(A(d));
  const int64_t row = sequence_row + first_row;
  RowBlock<A> block;
  block.row = first_row;
  block.rows = static_cast<int>(std::min<int64_t>(kBlock, shape.length - first_row));
  block.mask.offset = shape.offset;
  if (shape.first_key.defined()) block.mask.first = shape.first_key.data<int32_t>() + sequence_row;
  const HeadRows<const T> out = RowsOf<const T>(t.out, row, h * d);
  const HeadRows<const T> dout = RowsOf<const T>(t.dout, row, h * d);
  for (int r = 0; r < block.rows; ++r) {
    block.lse[r] = t.lse.data<A>()[h * t.lse.stride(0) + row + r];
    block.dot[r] = Dot(dout.data + r * dout.stride, out.data + r * out.stride, d);
  }
  CopyIn<T>(RowsOf<const T>(t.q, row, h * d), block.rows, d, {s.q, s.columns}, scale);
  CopyIn<T>(dout, block.rows, d, {s.dout, s.columns});
  std::fill(s.dq, s.dq + block.rows * s.columns, A(0));
  const int64_t begin = block.mask.Begins(first_row, block.rows).first / kBlock * kBlock;
  for (int64_t key = begin; key < block.mask.end(first_row + block.rows - 1); key += kBlock) {
    const int64_t count = std::min<int64_t>(kBlock, shape.seen_keys() - key);
    const auto backward = block.Masked(key) ? BackwardBlock<A, true> : BackwardBlock<A, false>;
    backward(block, s, keys, key, count, d);
  }
  CopyOut<T>({s.dq, s.columns}, block.rows, d, RowsOf<T>(t.dq, row, h * d), scale);
}

template <typename T>
void BackwardStream(const Tensors& t, const ops::AttentionShape& shape, int64_t sequence, int g,
                    const BackwardScratch<AccumulateType<T>>& s) {
  using A = AccumulateType<T>;
  const int64_t d = shape.head_dim;
  const int64_t seen = shape.seen_keys(), all_keys = shape.key_count();
  const int64_t row = sequence * shape.length, key = sequence * all_keys;
  const Panel<A> buffer = {s.keys, s.columns};  // the values pass through it before the keys settle there
  TransposeBlocks(Unpack<T>(RowsOf<const T>(t.v, key, g * d), seen, d, buffer), seen, d, s.values_transposed);
  const Panel<const A> keys = Unpack<T>(RowsOf<const T>(t.k, key, g * d), seen, d, buffer);
  TransposeBlocks(keys, seen, d, s.keys_transposed);
  std::fill(s.dk, s.dk + all_keys * s.columns, A(0));
  std::fill(s.dv, s.dv + all_keys * s.columns, A(0));
  const int end = FirstQueryHead(g + 1, shape.heads, shape.kv_heads);
  for (int h = FirstQueryHead(g, shape.heads, shape.kv_heads); h < end; ++h) {
    for (int64_t first = 0; first < shape.length; first += kBlock) BackwardRows<T>(t, shape, row, h, first, keys, s);
  }
  CopyOut<T>({s.dk, s.columns}, all_keys, d, RowsOf<T>(t.dk, key, g * d));
  CopyOut<T>({s.dv, s.columns}, all_keys, d, RowsOf<T>(t.dv, key, g * d));
}

}  // namespace

void StreamBackward(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                    const Tensor& out, const Tensor& lse, const ops::AttentionShape& shape, const Tensor& dq,
                    const Tensor& dk, const Tensor& dv) {
  const Tensors tensors = {dout, q, k, v, out, lse, dq, dk, dv};
  VisitFloat(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const int64_t keys = shape.key_count();
    const ThreadScratch<A> memory(context, BackwardScratch<A>::Elements(keys, shape.head_dim));
    const int64_t grain = StreamGrain(shape.length, shape.seen_keys(), shape.head_dim);
    ParallelFor(shape.batch * shape.kv_heads, grain, [&](int64_t begin, int64_t end) {
      const BackwardScratch<A> scratch(memory.ThisThread(), keys, shape.head_dim);
      for (int64_t i = begin; i < end; ++i) {
        BackwardStream<T>(tensors, shape, i / shape.kv_heads, static_cast<int>(i % shape.kv_heads), scratch);
      }
    });
  });
}

}  // namespace photon::cpu
