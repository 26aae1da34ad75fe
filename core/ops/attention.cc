#include "core/ops/attention.h"

#include "core/backend.h"
#include "core/ops/attention_checks.h"
#include "core/ops/rope.h"

namespace photon::ops {
namespace {

DType LseType(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

bool AreInputs(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionShape& s) {
  const int64_t rows = s.batch * s.length, keys = s.batch * s.key_count();
  return IsPossible(s) && s.batch >= 0 && s.length >= 1 && s.keys >= 0 && s.offset >= 0 &&
         s.seen_keys() <= s.key_count() && IsFloating(q) && IsRows(q, rows, s.heads * s.head_dim, q.dtype()) &&
         IsRows(k, keys, s.kv_heads * s.head_dim, q.dtype()) && IsRows(v, keys, s.kv_heads * s.head_dim, q.dtype()) &&
         (!s.first_key.defined() ||
          (s.first_key.shape() == Shape{rows} && s.first_key.dtype() == DType::kI32 && s.first_key.contiguous()));
}

bool IsLse(const Tensor& lse, const Tensor& q, const AttentionShape& s) {
  return IsRows(lse, s.heads, s.batch * s.length, LseType(q.dtype()));
}

// The column ranges of [q | k | v].
struct Columns {
  explicit Columns(const AttentionShape& s)
      : keys(s.heads * s.head_dim), values(keys + s.kv_heads * s.head_dim), end(values + s.kv_heads * s.head_dim) {}
  Tensor Q(const Tensor& t) const { return t.Columns(0, keys); }
  Tensor K(const Tensor& t) const { return t.Columns(keys, values); }
  Tensor V(const Tensor& t) const { return t.Columns(values, end); }
  Tensor Rotated(const Tensor& t) const { return t.Columns(0, values); }
  int64_t keys, values, end;
};

}  // namespace

void AttentionForward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                      const AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  PHOTON_CHECK(AreInputs(q, k, v, shape) && IsRows(out, q.dim(0), q.dim(1), q.dtype()) &&
               (!lse.defined() || IsLse(lse, q, shape)))
      << "[attention_forward] q " << q.ToString() << ", k " << k.ToString() << ", v " << v.ToString() << ", out "
      << out.ToString() << ", lse " << lse.ToString() << "; " << Describe(shape);
  if (q.dim(0) > 0) context.backend().attention_forward(context, q, k, v, shape, out, lse);
}

void AttentionBackward(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& out, const Tensor& lse, const AttentionShape& shape, const Tensor& dq,
                       const Tensor& dk, const Tensor& dv) {
  const auto like = [&](const Tensor& a, const Tensor& b) { return IsRows(a, b.dim(0), b.dim(1), q.dtype()); };
  PHOTON_CHECK(AreInputs(q, k, v, shape) && like(dout, q) && like(out, q) && IsLse(lse, q, shape) && like(dq, q) &&
               like(dk, k) && like(dv, v))
      << "[attention_backward] dout " << dout.ToString() << ", q " << q.ToString() << ", k " << k.ToString() << ", v "
      << v.ToString() << ", out " << out.ToString() << ", lse " << lse.ToString() << ", dq " << dq.ToString() << ", dk "
      << dk.ToString() << ", dv " << dv.ToString() << "; " << Describe(shape);
  if (q.dim(0) > 0) context.backend().attention_backward(context, dout, q, k, v, out, lse, shape, dq, dk, dv);
}

Var RotaryAttention(Tape& tape, const Var& qkv, const AttentionShape& shape, const Tensor& positions,
                    const Tensor& rope_table) {
  const Context& context = tape.context();
  const Columns columns(shape);
  const Tensor& x = qkv.value;
  PHOTON_CHECK(x.rank() == 2 && x.dim(1) == columns.end)
      << "[rotary_attention] qkv " << x.ToString() << "; " << Describe(shape);
  Rope(context, columns.Rotated(x), shape.head_dim, positions, rope_table, /*inverse=*/false);
  const Tensor value = context.Empty({x.dim(0), columns.keys}, x.dtype());
  const Var out = tape.Output(value, qkv.needs_gradient());
  const Tensor lse = out.needs_gradient() ? context.Empty({shape.heads, x.dim(0)}, LseType(x.dtype())) : Tensor();
  AttentionForward(context, columns.Q(x), columns.K(x), columns.V(x), shape, value, lse);
  if (!out.needs_gradient()) return out;
  tape.Record("rotary_attention", [&context, x, slot = qkv.slot, out, lse, shape, columns, positions, rope_table] {
    const Tensor arrived = out.slot->Take();
    if (!arrived.defined()) return;
    const Tensor dout = arrived.shape() == out.value.shape() ? arrived : arrived.Reshape(out.value.shape());
    const Tensor dx = context.Empty(x.shape(), x.dtype());
    AttentionBackward(context, dout, columns.Q(x), columns.K(x), columns.V(x), out.value, lse, shape, columns.Q(dx),
                      columns.K(dx), columns.V(dx));
    Rope(context, columns.Rotated(dx), shape.head_dim, positions, rope_table, /*inverse=*/true);
    slot->Accumulate(context, dx);
  });
  return out;
}

}  // namespace photon::ops
