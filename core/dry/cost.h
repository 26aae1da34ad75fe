// What operations cost: floating-point operations and bytes of memory, from the operands alone. One specialisation an
// operation that is not covered by the general rule: every operand is moved once.
#pragma once

#include "core/backend.h"
#include "core/dry/operation.h"

namespace photon::dry {

inline double BytesOf(const Tensor& t) { return t.defined() ? static_cast<double>(t.bytes()) : 0; }
inline double BytesOf(const ops::AttentionShape& shape) { return BytesOf(shape.first_key); }
template <typename T>
double BytesOf(const T&) {
  return 0;
}

// Pairs of a query and a key it sees, of all heads alike: documents' borders are not deducted.
inline double Pairs(const ops::AttentionShape& s) {
  const auto length = static_cast<double>(s.length), offset = static_cast<double>(s.offset);
  return static_cast<double>(s.batch) * (length * offset + length * (length + 1) / 2);
}

template <auto kEntry>
struct Cost {
  template <typename... Arguments>
  static void Add(Operation* operation, const Arguments&... arguments) {
    operation->bytes = (BytesOf(arguments) + ... + 0.0);
  }
};

template <>
struct Cost<&Backend::matmul> {
  static void Add(Operation* operation, const Tensor& a, bool transpose_a, const Tensor& b, bool, const Tensor& bias,
                  float beta, const Tensor& c) {
    operation->m = c.dim(0);
    operation->n = c.dim(1);
    operation->k = transpose_a ? a.dim(0) : a.dim(1);
    operation->flops =
        2.0 * static_cast<double>(operation->m) * static_cast<double>(operation->n) * static_cast<double>(operation->k);
    operation->bytes = BytesOf(a) + BytesOf(b) + BytesOf(bias) + (beta == 0 ? 1 : 2) * BytesOf(c);
  }
};

// Two products of each pair.
template <>
struct Cost<&Backend::attention_forward> {
  static void Add(Operation* operation, const Tensor& q, const Tensor& k, const Tensor& v,
                  const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
    operation->flops = 4 * shape.heads * static_cast<double>(shape.head_dim) * Pairs(shape);
    operation->bytes = BytesOf(q) + BytesOf(k) + BytesOf(v) + BytesOf(out) + BytesOf(lse) + BytesOf(shape);
  }
};

// Five: scores once more, and the gradients of scores, values, queries and keys.
template <>
struct Cost<&Backend::attention_backward> {
  static void Add(Operation* operation, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                  const Tensor& out, const Tensor& lse, const ops::AttentionShape& shape, const Tensor& dq,
                  const Tensor& dk, const Tensor& dv) {
    operation->flops = 10 * shape.heads * static_cast<double>(shape.head_dim) * Pairs(shape);
    operation->bytes = BytesOf(dout) + BytesOf(q) + BytesOf(k) + BytesOf(v) + BytesOf(out) + BytesOf(lse) +
                       BytesOf(shape) + BytesOf(dq) + BytesOf(dk) + BytesOf(dv);
  }
};

// Of the tables, as much as is picked.
template <>
struct Cost<&Backend::select_rows> {
  static void Add(Operation* operation, const Tensor&, const Tensor&, const Tensor& index, const Tensor& out) {
    operation->bytes = 2 * BytesOf(out) + BytesOf(index);
  }
};

template <>
struct Cost<&Backend::select_rows_gradient> {
  static void Add(Operation* operation, const Tensor& dout, const Tensor& index, const Tensor&, const Tensor&) {
    operation->bytes = 3 * BytesOf(dout) + BytesOf(index);
  }
};

template <>
struct Cost<&Backend::add> {
  static void Add(Operation* operation, const Tensor& in, const Tensor& out) {
    operation->bytes = BytesOf(in) + 2 * BytesOf(out);
  }
};

// Logits are read for the maximum and the sum, and overwritten with their gradient.
template <>
struct Cost<&Backend::cross_entropy> {
  static void Add(Operation* operation, const Tensor& logits, const Tensor& target, const Tensor& scale,
                  const Tensor& nll) {
    operation->bytes = (scale.defined() ? 3 : 2) * BytesOf(logits) + BytesOf(target) + BytesOf(scale) + BytesOf(nll);
  }
};

template <>
struct Cost<&Backend::split_cross_entropy> {
  static void Add(Operation* operation, const Tensor& logits, const Tensor& target, const Tensor& scored,
                  const Tensor& stats, const Tensor& scale, const Tensor& nll) {
    operation->bytes = (scale.defined() ? 2 : 1) * BytesOf(logits) + BytesOf(target) + BytesOf(scored) +
                       BytesOf(stats) + BytesOf(scale) + BytesOf(nll);
  }
};

template <>
struct Cost<&Backend::adamw> {
  static void Add(Operation* operation, const ops::AdamWStep&, const Tensor&, const Tensor& p, const Tensor& g,
                  const Tensor& m, const Tensor& v, const Tensor& copy) {
    operation->bytes = 2 * (BytesOf(p) + BytesOf(m) + BytesOf(v)) + BytesOf(g) + BytesOf(copy);
  }
};

}  // namespace photon::dry
