// Attention by its definition, in double, and for every element how far an implementation may be from it. For the tests
// of all its kernels.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/ops/attention.h"
#include "core/ops/memory.h"
#include "tests/support/tensors.h"

namespace photon::testing {

using Doubles = std::vector<double>;

struct AttentionCase {
  int64_t batch, length;
  int heads, kv_heads;
  int64_t head_dim;
  int64_t document = 0;  // rows a document; 0: no mask. Documents begin at odd places of each sequence.

  int64_t rows() const { return batch * length; }
  int64_t q_columns() const { return heads * head_dim; }
  int64_t kv_columns() const { return kv_heads * head_dim; }
  std::string Name() const {
    return "batch " + std::to_string(batch) + " length " + std::to_string(length) + " heads " + std::to_string(heads) +
           "/" + std::to_string(kv_heads) + " head_dim " + std::to_string(head_dim) + " document " +
           std::to_string(document);
  }
};

inline std::ostream& operator<<(std::ostream& out, const AttentionCase& c) { return out << c.Name(); }

inline int32_t FirstKey(const AttentionCase& c, int64_t sequence, int64_t i) {
  if (c.document == 0) return 0;
  const int64_t shift = sequence % c.document;  // documents begin at different rows in every sequence
  return static_cast<int32_t>(std::max<int64_t>(0, (i + shift) / c.document * c.document - shift));
}

inline ops::AttentionShape ShapeOf(const Context& context, const AttentionCase& c) {
  ops::AttentionShape shape = {.batch = c.batch,
                               .length = c.length,
                               .heads = c.heads,
                               .kv_heads = c.kv_heads,
                               .head_dim = c.head_dim,
                               .first_key = {}};
  if (c.document == 0) return shape;
  std::vector<int32_t> first;
  for (int64_t row = 0; row < c.rows(); ++row) first.push_back(FirstKey(c, row / c.length, row % c.length));
  shape.first_key = IntTensor(context, std::move(first));
  return shape;
}

// q, k and v as column ranges of one buffer, and the gradients likewise.
struct Attention {
  Attention(const Context& context, const AttentionCase& c, DType dtype, double size = 1)
      : context(context), c(c), dtype(dtype), shape(ShapeOf(context, c)) {
    qkv = RandomTensor(context, {c.rows(), c.q_columns() + 2 * c.kv_columns()}, dtype, 1, size);
    dout = RandomTensor(context, {c.rows(), c.q_columns()}, dtype, 2);
    out = context.Empty({c.rows(), c.q_columns()}, dtype);
    lse = context.Empty({c.heads, c.rows()}, dtype == DType::kF64 ? DType::kF64 : DType::kF32);
    gradient = context.Empty(qkv.shape(), dtype);
  }
  Tensor Q(const Tensor& t) const { return t.Columns(0, c.q_columns()); }
  Tensor K(const Tensor& t) const { return t.Columns(c.q_columns(), c.q_columns() + c.kv_columns()); }
  Tensor V(const Tensor& t) const { return t.Columns(c.q_columns() + c.kv_columns(), t.dim(1)); }
  void Forward() { ops::AttentionForward(context, Q(qkv), K(qkv), V(qkv), shape, out, lse); }
  void Backward() {
    ops::AttentionBackward(context, dout, Q(qkv), K(qkv), V(qkv), out, lse, shape, Q(gradient), K(gradient),
                           V(gradient));
  }

  const Context& context;
  AttentionCase c;
  DType dtype;
  ops::AttentionShape shape;
  Tensor qkv, dout, out, lse, gradient;
};

// A tensor by the definition, and for each element how far from it a result may be.
struct Expected {
  explicit Expected(size_t elements) : value(elements), bound(elements) {}
  void Add(size_t i, double x, double error) {
    value[i] += x;
    bound[i] += error;
  }
  // Rounding what is stored: the end of it.
  void Store(double roundoff) {
    for (size_t i = 0; i < value.size(); ++i) bound[i] += roundoff * std::abs(value[i]);
  }
  Doubles value, bound;
};

struct Reference {
  Expected out, lse, dq, dk, dv;
};

// By plain loops in double. Bounds to first order, sums in any order. u: roundoff of the arithmetic, twice as large on
// tensor cores, which may cut off where a sum rounds; w: of what is stored (2^-8 for bf16 is twice what rounding to
// nearest does: second order hides in that); f: of weights and their gradients as factors, which tensor cores take as
// bf16 (0 elsewhere). n: keys of a row; m: rows and heads that a key is summed over. All of row i, key j:
//   score s = scale q.k                 ds = (d + 3) u scale |q|.|k|
//   weight p = exp(s - lse), relative   r = 2 max ds + (8 max |s| + n + 16) u: scores, their scaling and that of the
//                                       largest, exp to 4 u, the sum of n
//   out = sum p v                       (r + f + (n + 2) u) sum p |v|
//   lse                                 r + u |lse|
//   p again, from lse                   b = 2 r + 8 (max |s| + |lse|) u
//   e = dout.v - dout.out               de = (d + 3) u |dout|.(|v| + |out|) + |dout|.(error of out)
//   dscore g = scale p e                dg = (b + f + 4 u) |g| + scale p de
//   dq = sum g k, dk = sum g q          (dg + (n + 2) u |g|) |k|, (dg + (m + 2) u |g|) |q|
//   dv = sum p dout                     (b + f + (m + 2) u) p |dout|
// and w of every stored element.
// With a range of positions, of what these rows compute: zeros elsewhere in out, lse and dq.
inline Reference Define(const Attention& a, int64_t begin = 0, int64_t end = std::numeric_limits<int64_t>::max()) {
  const AttentionCase& c = a.c;
  const int64_t d = c.head_dim;
  const Doubles q = ToDoubles(a.context, a.Q(a.qkv)), k = ToDoubles(a.context, a.K(a.qkv));
  const Doubles v = ToDoubles(a.context, a.V(a.qkv)), dout = ToDoubles(a.context, a.dout);
  const bool tensor_cores = a.context.device().type == DeviceType::kCuda && a.dtype == DType::kBF16;
  const double u = UnitRoundoff(a.dtype == DType::kF64 ? DType::kF64 : DType::kF32) * (tensor_cores ? 2 : 1);
  const double w = UnitRoundoff(a.dtype), f = tensor_cores ? w : 0;
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  const double n = c.length, m = n * ((c.heads + c.kv_heads - 1) / c.kv_heads);
  Reference r = {Expected(q.size()), Expected(c.heads * c.rows()), Expected(q.size()), Expected(k.size()),
                 Expected(v.size())};
  const auto dot = [d](const double* x, const double* y) {
    double sum = 0;
    for (int64_t e = 0; e < d; ++e) sum += x[e] * y[e];
    return sum;
  };
  const auto size = [d](const double* x, const double* y) {
    double sum = 0;
    for (int64_t e = 0; e < d; ++e) sum += std::abs(x[e] * y[e]);
    return sum;
  };
  for (int64_t row = 0; row < c.rows(); ++row) {
    if (row % c.length < begin || row % c.length >= end) continue;
    const int64_t first = row / c.length * c.length + FirstKey(c, row / c.length, row % c.length);
    for (int h = 0; h < c.heads; ++h) {
      const int64_t qi = row * c.q_columns() + h * d;
      const auto kj = [&](int64_t j) { return j * c.kv_columns() + h * c.kv_heads / c.heads * d; };
      Doubles p;
      double largest = -INFINITY, total = 0, score = 0, score_error = 0;
      for (int64_t j = first; j <= row; ++j) {
        p.push_back(scale * dot(&q[qi], &k[kj(j)]));
        largest = std::max(largest, p.back());
        score = std::max(score, std::abs(p.back()));
        score_error = std::max(score_error, (d + 3) * u * scale * size(&q[qi], &k[kj(j)]));
      }
      for (double& x : p) total += x = std::exp(x - largest);
      const double lse = largest + std::log(total);
      const double weight_error = 2 * score_error + (8 * score + n + 16) * u;
      r.lse.Add(h * c.rows() + row, lse, weight_error + u * std::abs(lse));
      for (int64_t j = first; j <= row; ++j) {
        p[j - first] /= total;
        for (int64_t e = 0; e < d; ++e) {
          const double x = p[j - first] * v[kj(j) + e];
          r.out.Add(qi + e, x, (weight_error + f + (n + 2) * u) * std::abs(x));
        }
      }
      double mean = 0, mean_error = 0;
      for (int64_t e = 0; e < d; ++e) {
        const double out = r.out.value[qi + e];
        mean += dout[qi + e] * out;
        mean_error += std::abs(dout[qi + e]) * (r.out.bound[qi + e] + w * std::abs(out) + (d + 3) * u * std::abs(out));
      }
      const double again = 2 * weight_error + 8 * (score + std::abs(lse)) * u;
      for (int64_t j = first; j <= row; ++j) {
        const double weight = p[j - first];
        const double g = scale * weight * (dot(&dout[qi], &v[kj(j)]) - mean);
        const double g_error = (again + f + 4 * u) * std::abs(g) +
                               scale * weight * ((d + 3) * u * size(&dout[qi], &v[kj(j)]) + mean_error);
        for (int64_t e = 0; e < d; ++e) {
          const double key = k[kj(j) + e], query = q[qi + e], x = weight * dout[qi + e];
          r.dq.Add(qi + e, g * key, (g_error + (n + 2) * u * std::abs(g)) * std::abs(key));
          r.dk.Add(kj(j) + e, g * query, (g_error + (m + 2) * u * std::abs(g)) * std::abs(query));
          r.dv.Add(kj(j) + e, x, (again + f + (m + 2) * u) * std::abs(x));
        }
      }
    }
  }
  for (Expected* t : {&r.out, &r.dq, &r.dk, &r.dv}) t->Store(w);
  return r;
}

// The element that is furthest from what is expected, in its bound, must be within it.
inline void ExpectWithin(const Doubles& got, const Expected& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.value.size()) << what;
  size_t worst = 0;
  double worst_share = -1;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want.value[i]);
    const double share = error == 0 ? 0 : error <= INFINITY ? error / want.bound[i] : INFINITY;  // NaN: infinite
    if (share > worst_share) {
      worst_share = share;
      worst = i;
    }
  }
  EXPECT_LE(worst_share, 1) << what << ": element " << worst << " is " << got[worst] << ", want " << want.value[worst]
                            << " within " << want.bound[worst];
}

// After Forward and Backward.
inline void ExpectDefinition(const Attention& a) {
  const Reference r = Define(a);
  const std::string of = " of " + a.c.Name();
  ExpectWithin(ToDoubles(a.context, a.out), r.out, "out" + of);
  ExpectWithin(ToDoubles(a.context, a.lse), r.lse, "lse" + of);
  ExpectWithin(ToDoubles(a.context, a.Q(a.gradient)), r.dq, "dq" + of);
  ExpectWithin(ToDoubles(a.context, a.K(a.gradient)), r.dk, "dk" + of);
  ExpectWithin(ToDoubles(a.context, a.V(a.gradient)), r.dv, "dv" + of);
}

// Bytes of a tensor's row range: comparisons that see the sign of a zero and a NaN.
inline std::string Bytes(const Context& context, const Tensor& t, int64_t begin, int64_t end) {
  std::string bytes;
  for (int64_t i = begin; i < end; ++i) {
    const Tensor row = t.Rows(i, i + 1);
    std::string of_row(row.bytes(), '\0');
    context.ToHost(row, of_row.data());
    bytes += of_row;
  }
  return bytes;
}

inline void FillRows(const Context& context, const Tensor& t, int64_t begin, int64_t end, double value) {
  for (int64_t i = begin; i < end; ++i) {
    const Tensor row = t.Rows(i, i + 1);
    VisitFloat(t.dtype(), [&](auto tag) {
      using T = decltype(tag);
      const std::vector<T> host(row.elements(), T(static_cast<AccumulateType<T>>(value)));
      ops::CopyFromHost(context, host.data(), row);
    });
  }
}

}  // namespace photon::testing
