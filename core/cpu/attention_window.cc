// Attention inside short windows: hundreds of thousands of independent triangles of a few rows.
//
// The scores of a window and head are packed row by row, (0,0) (1,0) (1,1) (2,0) .., so that a window of five rows is
// one vector, and one exp. The dot products are reduced 16 at a time. A unit of work is a window and a key/value head.
#include <cmath>

#include "core/cpu/attention.h"
#include "core/cpu/attention_rows.h"
#include "core/cpu/parallel_for.h"

namespace photon::cpu {
namespace {

template <typename A>
inline constexpr int kMaxRows = kLanes<A>;
template <typename A>
inline constexpr int kMaxPairs = kMaxRows<A>*(kMaxRows<A> + 1) / 2 + kLanes<A>;  // and room for a last vector

// What is the same for every window of a call.
template <typename A>
struct Triangle {
  Triangle(int64_t rows, int64_t head_dim)
      : length(static_cast<int>(rows)), columns(PaddedColumns<A>(head_dim)), scale(1 / std::sqrt(A(head_dim))) {
    for (int i = 0, pair = 0; i < length; ++i) {
      for (int j = 0; j <= i; ++j) row[pair++] = i;
    }
    pairs = length * (length + 1) / 2;
  }
  int length;
  int pairs;
  int64_t columns;  // of the buffers
  A scale;
  alignas(64) std::conditional_t<std::is_same_v<A, float>, int32_t, int64_t> row[kMaxPairs<A>] = {};

  // per_row[row of the pair], for the pairs of one vector.
  Vec<A> Spread(Vec<A> per_row, int pair) const {
    typename VecOf<A>::mask index;
    std::memcpy(&index, row + pair, sizeof(index));
#ifdef __clang__  // has no such instruction of its own; the fuzzers are built with it
    Vec<A> spread;
    for (int i = 0; i < kLanes<A>; ++i) spread[i] = per_row[index[i]];
    return spread;
#else
    return __builtin_shuffle(per_row, index);
#endif
  }
};

// products[pair (i, j)] = a_i . b_j; kVectors divides the vectors of a row.
template <int kVectors, typename A>
void PairProducts(const Triangle<A>& triangle, Panel<const A> a, Panel<const A> b, A* products) {
  constexpr int n = kLanes<A>;
  Vec<A> sums[n];
  int filled = 0;
  for (int i = 0; i < triangle.length; ++i) {
    for (int j = 0; j <= i; ++j) {
      const A* left = a.data + i * a.stride;
      const A* right = b.data + j * b.stride;
      Vec<A> sum = Load(left) * Load(right);
#pragma GCC unroll 4
      for (int x = 1; x < kVectors; ++x) sum += Load(left + x * n) * Load(right + x * n);
      for (int64_t c = kVectors * n; c < triangle.columns; c += n) sum += Load(left + c) * Load(right + c);
      sums[filled++] = sum;
      if (filled < n) continue;
      Store(products, SumEach<A>(sums));
      products += n;
      filled = 0;
    }
  }
  if (filled == 0) return;
  for (; filled < n; ++filled) sums[filled] = Vec<A>{};
  Store(products, SumEach<A>(sums));
}

// to = (or +=) scale * sum of weight(t) * row t of `from`, t in [begin, end) where weight(t) is not null.
template <int kVectors, typename A, typename Weight>
inline void WeightedSum(int begin, int end, Weight&& weight, Panel<const A> from, int64_t columns, A scale, A* to,
                        bool add) {
  constexpr int n = kLanes<A>;
  for (int64_t c = 0; c < columns; c += kVectors * n) {
    Vec<A> sum[kVectors] = {};
    for (int t = begin; t < end; ++t) {
      const A* w = weight(t);
      if (w == nullptr) continue;
#pragma GCC unroll 4
      for (int x = 0; x < kVectors; ++x) sum[x] += Broadcast(*w) * Load(from.data + t * from.stride + c + x * n);
    }
#pragma GCC unroll 4
    for (int x = 0; x < kVectors; ++x) {
      A* target = to + c + x * n;
      Store(target, add ? Load(target) + sum[x] * scale : sum[x] * scale);
    }
  }
}

// Sums over the visible pairs of each row.
template <typename A>
void RowSums(const Triangle<A>& triangle, const A* values, const int32_t* first, A* sums) {
  for (int i = 0, row = 0; i < triangle.length; row += ++i) {
    A sum = 0;
    for (int j = first[i]; j <= i; ++j) sum += values[row + j];
    sums[i] = sum;
  }
}

template <typename A>
struct Softmax {
  alignas(64) A weights[kMaxPairs<A>];  // exp(score - top): of hidden pairs too, which nobody may read
  alignas(64) A top[kLanes<A>] = {};
  alignas(64) A total[kLanes<A>] = {};

  void Compute(const Triangle<A>& triangle, const int32_t* first) {
    for (int i = 0, row = 0; i < triangle.length; row += ++i) {
      A largest = weights[row + first[i]];
      for (int j = first[i] + 1; j <= i; ++j) {
        const A score = weights[row + j];
        largest = score > largest ? score : largest;  // by value: std::max compiles to a branch, mispredicted
      }
      top[i] = largest;
    }
    const Vec<A> tops = Load(top);
    for (int p = 0; p < triangle.pairs; p += kLanes<A>) {
      Store(weights + p, Exp((Load(weights + p) - triangle.Spread(tops, p)) * triangle.scale));
    }
    RowSums(triangle, weights, first, total);
  }
};

constexpr int32_t kNoFirst[kMaxRows<float>] = {};

const int32_t* FirstKeys(const ops::AttentionShape& shape, int64_t row) {
  return shape.first_key.defined() ? shape.first_key.data<int32_t>() + row : kNoFirst;
}

// A window's rows of one head, written in place where possible, else through a buffer.
template <typename T>
class OutputRows {
  using A = AccumulateType<T>;

 public:
  OutputRows(HeadRows<T> target, int64_t columns, Panel<A> buffer)
      : target_(target), columns_(columns), buffer_(buffer) {
    if constexpr (std::is_same_v<T, A>) {
      if (InPlace<T>(columns)) buffer_ = {target.data, target.stride};
    }
  }
  A* row(int i) const { return buffer_.data + i * buffer_.stride; }
  void Finish(int rows) const {
    if (!InPlace<T>(columns_)) CopyOut<T>({buffer_.data, buffer_.stride}, rows, columns_, target_);
  }

 private:
  HeadRows<T> target_;
  int64_t columns_;
  Panel<A> buffer_;
};

// Hands out the buffers of a thread: one window's rows of one head each.
template <typename A>
Panel<A> Buffer(A* scratch, int index, const Triangle<A>& triangle) {
  return {scratch + index * triangle.length * triangle.columns, triangle.columns};
}

// Asks for the rows that a later unit reads. The hardware does not follow: a unit's rows are short pieces, each in a
// page of its own.
template <typename T>
void Prefetch(const Tensor& t, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  if (row + rows > t.dim(0)) return;  // no such unit
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = row; i < row + rows; ++i) {
    const T* begin = t.data<T>() + i * t.stride(0) + column;
    for (int64_t c = 0; c < columns; c += kLine) __builtin_prefetch(begin + c);
  }
}

struct ForwardTensors {
  const Tensor &q, &k, &v, &out, &lse;
};

template <int kVectors, typename T>
void Forward(const ForwardTensors& t, const ops::AttentionShape& shape, const Triangle<AccumulateType<T>>& triangle,
             int64_t window, int g, AccumulateType<T>* scratch) {
  using A = AccumulateType<T>;
  const int64_t d = shape.head_dim;
  const int64_t row = window * shape.length;
  const int length = triangle.length;
  const int32_t* first = FirstKeys(shape, row);
  const Panel<const A> k = Unpack<T>(RowsOf<const T>(t.k, row, g * d), length, d, Buffer(scratch, 0, triangle));
  const Panel<const A> v = Unpack<T>(RowsOf<const T>(t.v, row, g * d), length, d, Buffer(scratch, 1, triangle));
  const int end = FirstQueryHead(g + 1, shape.heads, shape.kv_heads);
  for (int h = FirstQueryHead(g, shape.heads, shape.kv_heads); h < end; ++h) {
    const Panel<const A> q = Unpack<T>(RowsOf<const T>(t.q, row, h * d), length, d, Buffer(scratch, 2, triangle));
    Softmax<A> softmax;
    PairProducts<kVectors>(triangle, q, k, softmax.weights);
    softmax.Compute(triangle, first);
    const OutputRows<T> out(RowsOf<T>(t.out, row, h * d), d, Buffer(scratch, 3, triangle));
    for (int i = 0, pair = 0; i < length; pair += ++i) {
      WeightedSum<kVectors>(
          first[i], i + 1, [&](int j) { return softmax.weights + pair + j; }, v, triangle.columns, 1 / softmax.total[i],
          out.row(i), /*add=*/false);
    }
    out.Finish(length);
    if (!t.lse.defined()) continue;
    Store(softmax.top, Load(softmax.top) * triangle.scale + Log(Load(softmax.total)));
    std::copy_n(softmax.top, length, t.lse.data<A>() + h * t.lse.stride(0) + row);
  }
}

struct BackwardTensors {
  const Tensor &dout, &q, &k, &v, &lse, &dq, &dk, &dv;
};

// Probabilities and the gradients of the scaled products, from the log-sum-exp of the forward pass.
template <typename A>
struct ScoreGradient {
  alignas(64) A probability[kMaxPairs<A>];
  alignas(64) A score[kMaxPairs<A>];  // in: dout . v; out: the gradient of q . k

  void Compute(const Triangle<A>& triangle, const int32_t* first, const A* lse) {
    alignas(64) A per_row[kLanes<A>] = {};
    alignas(64) A products[kMaxPairs<A>];
    for (int i = 0; i < triangle.length; ++i) per_row[i] = lse[i];
    const Vec<A> logs = Load(per_row);
    for (int p = 0; p < triangle.pairs; p += kLanes<A>) {
      const Vec<A> exp = Exp(Load(probability + p) * triangle.scale - triangle.Spread(logs, p));
      Store(probability + p, exp);
      Store(products + p, exp * Load(score + p));
    }
    RowSums(triangle, products, first, per_row);
    const Vec<A> sums = Load(per_row);
    for (int p = 0; p < triangle.pairs; p += kLanes<A>) {
      Store(score + p, Load(probability + p) * (Load(score + p) - triangle.Spread(sums, p)) * triangle.scale);
    }
  }
};

template <int kVectors, typename T>
void Backward(const BackwardTensors& t, const ops::AttentionShape& shape, const Triangle<AccumulateType<T>>& triangle,
              int64_t window, int g, AccumulateType<T>* scratch) {
  using A = AccumulateType<T>;
  const int64_t d = shape.head_dim;
  const int64_t row = window * shape.length;
  const int length = triangle.length;
  const int32_t* first = FirstKeys(shape, row);
  const Panel<const A> k = Unpack<T>(RowsOf<const T>(t.k, row, g * d), length, d, Buffer(scratch, 0, triangle));
  const Panel<const A> v = Unpack<T>(RowsOf<const T>(t.v, row, g * d), length, d, Buffer(scratch, 1, triangle));
  const OutputRows<T> dk(RowsOf<T>(t.dk, row, g * d), d, Buffer(scratch, 2, triangle));
  const OutputRows<T> dv(RowsOf<T>(t.dv, row, g * d), d, Buffer(scratch, 3, triangle));
  const int begin = FirstQueryHead(g, shape.heads, shape.kv_heads);
  const int end = FirstQueryHead(g + 1, shape.heads, shape.kv_heads);
  for (int h = begin; h < end; ++h) {
    const Panel<const A> q = Unpack<T>(RowsOf<const T>(t.q, row, h * d), length, d, Buffer(scratch, 4, triangle));
    const Panel<const A> dout = Unpack<T>(RowsOf<const T>(t.dout, row, h * d), length, d, Buffer(scratch, 5, triangle));
    const OutputRows<T> dq(RowsOf<T>(t.dq, row, h * d), d, Buffer(scratch, 6, triangle));
    ScoreGradient<A> gradient;
    PairProducts<kVectors>(triangle, q, k, gradient.probability);
    PairProducts<kVectors>(triangle, dout, v, gradient.score);
    gradient.Compute(triangle, first, t.lse.data<A>() + h * t.lse.stride(0) + row);
    for (int i = 0, pair = 0; i < length; pair += ++i) {
      WeightedSum<kVectors>(
          first[i], i + 1, [&](int j) { return gradient.score + pair + j; }, k, triangle.columns, A(1), dq.row(i),
          /*add=*/false);
    }
    for (int j = 0; j < length; ++j) {  // key j is seen by rows from j on
      const auto seen = [&](const A* weights) {
        return [=](int i) { return first[i] <= j ? weights + i * (i + 1) / 2 + j : nullptr; };
      };
      WeightedSum<kVectors>(j, length, seen(gradient.score), q, triangle.columns, A(1), dk.row(j), h > begin);
      WeightedSum<kVectors>(j, length, seen(gradient.probability), dout, triangle.columns, A(1), dv.row(j), h > begin);
    }
    dq.Finish(length);
  }
  dk.Finish(length);
  dv.Finish(length);
}

// Calls f(number of vectors that the inner loops step by) with a constant that divides `vectors`.
template <typename F>
void VisitStep(int64_t vectors, F&& f) {
  if (vectors % 4 == 0) return f(std::integral_constant<int, 4>());
  if (vectors % 3 == 0) return f(std::integral_constant<int, 3>());
  if (vectors % 2 == 0) return f(std::integral_constant<int, 2>());
  return f(std::integral_constant<int, 1>());
}

// Calls unit(window, key/value head, scratch) for all, `buffers` buffers in the scratch, each well after its rows of
// `inputs` (of query heads or of key/value heads, by their width) were asked for.
template <typename T, typename F>
void ForEachUnit(const Context& context, const ops::AttentionShape& shape, const Triangle<AccumulateType<T>>& triangle,
                 int buffers, std::initializer_list<const Tensor*> inputs, F&& unit) {
  using A = AccumulateType<T>;
  constexpr int64_t kAhead = 2;      // units
  constexpr int64_t kGrain = 16384;  // elements a thread must have to be worth waking
  const ThreadScratch<A> scratch(context, buffers * triangle.length * triangle.columns);
  const int64_t grain = kGrain / (triangle.length * triangle.columns) + 1;
  ParallelFor(shape.batch * shape.kv_heads, grain, [&](int64_t begin, int64_t end) {
    A* own = scratch.ThisThread();
    for (int64_t i = begin; i < end; ++i) {
      const int64_t later = (i + kAhead) / shape.kv_heads, later_head = (i + kAhead) % shape.kv_heads;
      for (const Tensor* t : inputs) {
        const int64_t columns = t->dim(1) / shape.kv_heads;
        Prefetch<T>(*t, later * shape.length, shape.length, later_head * columns, columns);
      }
      unit(i / shape.kv_heads, static_cast<int>(i % shape.kv_heads), own);
    }
  });
}

}  // namespace

void WindowForward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                   const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  VisitFloat(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const Triangle<A> triangle(shape.length, shape.head_dim);
    const ForwardTensors tensors = {q, k, v, out, lse};
    VisitStep(triangle.columns / kLanes<A>, [&](auto step) {
      ForEachUnit<T>(context, shape, triangle, 4, {&q, &k, &v}, [&](int64_t window, int g, A* scratch) {
        Forward<step(), T>(tensors, shape, triangle, window, g, scratch);
      });
    });
  });
}

void WindowBackward(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                    const Tensor&, const Tensor& lse, const ops::AttentionShape& shape, const Tensor& dq,
                    const Tensor& dk, const Tensor& dv) {
  VisitFloat(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const Triangle<A> triangle(shape.length, shape.head_dim);
    const BackwardTensors tensors = {dout, q, k, v, lse, dq, dk, dv};
    VisitStep(triangle.columns / kLanes<A>, [&](auto step) {
      ForEachUnit<T>(context, shape, triangle, 7, {&dout, &q, &k, &v}, [&](int64_t window, int g, A* scratch) {
        Backward<step(), T>(tensors, shape, triangle, window, g, scratch);
      });
    });
  });
}

}  // namespace photon::cpu
