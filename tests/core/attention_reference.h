// Attention by its definition, in double, with bounds of what an implementation may differ by. For the tests of all its
// kernels.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/ops/attention.h"
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

inline ops::AttentionShape ShapeOf(const TestContext& context, const AttentionCase& c) {
  ops::AttentionShape shape = {c.batch, c.length, c.heads, c.kv_heads, c.head_dim, {}};
  if (c.document == 0) return shape;
  std::vector<int32_t> first;
  for (int64_t row = 0; row < c.rows(); ++row) first.push_back(FirstKey(c, row / c.length, row % c.length));
  shape.first_key = IntTensor(context, std::move(first));
  return shape;
}

// q, k and v as column ranges of one buffer, and the gradients likewise.
struct Attention {
  Attention(const TestContext& test, const AttentionCase& c, DType dtype)
      : context(test), c(c), dtype(dtype), shape(ShapeOf(test, c)), scale(1 / std::sqrt(double(c.head_dim))) {
    qkv = RandomTensor(context, {c.rows(), c.q_columns() + 2 * c.kv_columns()}, dtype, 1);
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
  double scale;
  Tensor qkv, dout, out, lse, gradient;
};

// The definition, in double: everything by plain loops.
struct Reference {
  Doubles out, lse, dq, dk, dv;
};

inline Reference Define(const Attention& a) {
  const AttentionCase& c = a.c;
  const int64_t d = c.head_dim;
  const Doubles q = ToDoubles(a.context, a.Q(a.qkv)), k = ToDoubles(a.context, a.K(a.qkv));
  const Doubles v = ToDoubles(a.context, a.V(a.qkv)), dout = ToDoubles(a.context, a.dout);
  Reference r;
  r.out.resize(q.size());
  r.dq.resize(q.size());
  r.dk.resize(k.size());
  r.dv.resize(v.size());
  r.lse.resize(c.heads * c.rows());
  const auto dot = [d](const double* x, const double* y) {
    double sum = 0;
    for (int64_t e = 0; e < d; ++e) sum += x[e] * y[e];
    return sum;
  };
  for (int64_t row = 0; row < c.rows(); ++row) {
    const int64_t begin = row / c.length * c.length;
    const int64_t first = begin + FirstKey(c, row / c.length, row % c.length);
    for (int h = 0; h < c.heads; ++h) {
      const int64_t qi = row * c.q_columns() + h * d;
      const auto kj = [&](int64_t j) { return j * c.kv_columns() + h * c.kv_heads / c.heads * d; };
      Doubles p;
      double largest = -INFINITY, total = 0, mean = 0;
      for (int64_t j = first; j <= row; ++j) {
        p.push_back(a.scale * dot(&q[qi], &k[kj(j)]));
        largest = std::max(largest, p.back());
      }
      for (double& x : p) total += x = std::exp(x - largest);
      r.lse[h * c.rows() + row] = largest + std::log(total);
      for (int64_t j = first; j <= row; ++j) {
        p[j - first] /= total;
        for (int64_t e = 0; e < d; ++e) r.out[qi + e] += p[j - first] * v[kj(j) + e];
        mean += p[j - first] * dot(&dout[qi], &v[kj(j)]);
      }
      for (int64_t j = first; j <= row; ++j) {
        const double ds = a.scale * p[j - first] * (dot(&dout[qi], &v[kj(j)]) - mean);
        for (int64_t e = 0; e < d; ++e) {
          r.dq[qi + e] += ds * k[kj(j) + e];
          r.dk[kj(j) + e] += ds * q[qi + e];
          r.dv[kj(j) + e] += p[j - first] * dout[qi + e];
        }
      }
    }
  }
  return r;
}

inline double LargestNorm(const Doubles& x, int64_t d) {
  double largest = 0;
  for (size_t i = 0; i < x.size(); i += d) {
    double sum = 0;
    for (int64_t e = 0; e < d; ++e) sum += x[i + e] * x[i + e];
    largest = std::max(largest, std::sqrt(sum));
  }
  return largest;
}

inline double Largest(const Doubles& x) {
  double largest = 0;
  for (double e : x) largest = std::max(largest, std::abs(e));
  return largest;
}

// Error bounds from norms. u: roundoff of the arithmetic, w: of what is stored, f: of the weights of a second product,
// which tensor cores take as bf16 (0 elsewhere). Norms are of one head's row.
//   score: a dot product of d terms, scaled: |ds| <= (d + 3) u |q| |k| / sqrt(d) =: s
//   weight, relative: 2 s for score and lse or maximum, and the rounding of the exponent's argument, exp (4 u) and the
//     sums of n terms: p = 2 s + (2 |score| + n + 8) u
//   out = sum of weights times v, weights summing to 1: (p + n u + f) max |v|, and w |out| for the store
//   dscore = weight (dout.v - mean), |dout.v| <= |dout| |v| =: D: 2 D (p + (d + n + 4) u + w + f): w as `out` was
//   rounded dq = sum over keys, weights summing to 1 dk, dv = sums over up to m = n * group rows and heads, each weight
//   <= 1
// Tensor cores may cut off where a sum in f32 rounds: u is twice as large there.
struct Bounds {
  double out, lse, dq, dk, dv;
};

inline Bounds BoundsOf(const Attention& a, const Reference& r) {
  const bool tensor_cores = a.context.device().type == DeviceType::kCuda && a.dtype == DType::kBF16;
  const double u = UnitRoundoff(a.dtype == DType::kF64 ? DType::kF64 : DType::kF32) * (tensor_cores ? 2 : 1);
  const double w = UnitRoundoff(a.dtype), f = tensor_cores ? w : 0;
  const Doubles q = ToDoubles(a.context, a.Q(a.qkv)), k = ToDoubles(a.context, a.K(a.qkv));
  const Doubles v = ToDoubles(a.context, a.V(a.qkv)), dout = ToDoubles(a.context, a.dout);
  const double d = a.c.head_dim, n = a.c.length, m = n * (a.c.heads + a.c.kv_heads - 1) / a.c.kv_heads;
  const double nq = LargestNorm(q, a.c.head_dim), nk = LargestNorm(k, a.c.head_dim);
  const double score = nq * nk * a.scale;
  const double s = (d + 3) * u * score;
  const double p = 2 * s + (2 * score + n + 8) * u;
  const double big = LargestNorm(dout, a.c.head_dim) * LargestNorm(v, a.c.head_dim);
  const double ds = 2 * big * (p + (d + 2 * n + 4) * u + w + f) * a.scale;
  return {.out = (p + n * u + f) * Largest(v) + w * Largest(r.out),
          .lse = p + s + Largest(r.lse) * u,
          .dq = ds * Largest(k) + w * Largest(r.dq),
          .dk = m * (ds + 2 * big * a.scale * m * u) * Largest(q) + w * Largest(r.dk),
          .dv = m * (p + m * u + f) * Largest(dout) + w * Largest(r.dv)};
}

}  // namespace photon::testing
