#include "core/ops/elementwise.h"

#include "core/backend.h"
#include "core/ops/checks.h"
#include "core/profiler.h"

namespace photon::ops {
namespace {

// Either the whole is contiguous, or it is a matrix of contiguous rows.
bool HasContiguousRows(const Tensor& t) { return t.contiguous() || IsMatrix(t); }

void CheckPair(const char* op, const Tensor& in, const Tensor& out) {
  PHOTON_CHECK(in.defined() && out.defined() && in.shape() == out.shape() && IsFloating(in) && IsFloating(out) &&
               HasContiguousRows(in) && HasContiguousRows(out))
      << "[" << op << "] in " << in.ToString() << ", out " << out.ToString()
      << ": want floating dtypes, one shape, rows contiguous";
}

}  // namespace

void Cast(const Context& context, const Tensor& in, const Tensor& out) {
  CheckPair("cast", in, out);
  CountTraffic(context, in.dtype() == out.dtype() ? Traffic::kCopied : Traffic::kConverted, in.bytes() + out.bytes());
  context.backend().cast(context, in, out);
}

void Add(const Context& context, const Tensor& in, const Tensor& out) {
  CheckPair("add", in, out);
  CountTraffic(context, Traffic::kAdded, in.bytes() + 2 * out.bytes());
  context.backend().add(context, in, out);
}

void SumRows(const Context& context, const Tensor& in, const Tensor& out) {
  const DType sum_type = in.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  PHOTON_CHECK(IsMatrix(in) && IsFloating(in) && out.defined() && out.shape() == Shape{in.dim(1)} && out.contiguous() &&
               out.dtype() == sum_type)
      << "[sum_rows] in " << in.ToString() << ", out " << out.ToString();
  context.backend().sum_rows(context, in, out);
}

Var Sum(Tape& tape, const Var& a, const Var& b) {
  const Context& context = tape.context();
  const Tensor sum = context.Empty(a.value.shape(), a.value.dtype());
  Cast(context, a.value, sum);
  Add(context, b.value, sum);
  const Var y = tape.Output(sum, a.needs_gradient() || b.needs_gradient());
  if (!y.needs_gradient()) return y;
  tape.Record("sum", [&context, a_slot = a.slot, b_slot = b.slot, b_type = b.value.dtype(), y_slot = y.slot] {
    const Tensor dy = y_slot->Take();
    if (!dy.defined()) return;
    if (b_slot != nullptr) b_slot->Accumulate(context, Converted(context, dy, b_type));
    if (a_slot != nullptr) a_slot->Accumulate(context, dy);
  });
  return y;
}

Tensor Converted(const Context& context, const Tensor& t, DType dtype) {
  if (t.dtype() == dtype) return t;
  const Tensor converted = context.Empty(t.shape(), dtype);
  Cast(context, t, converted);
  return converted;
}

}  // namespace photon::ops
