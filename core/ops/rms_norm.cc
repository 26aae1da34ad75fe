#include "core/ops/rms_norm.h"

#include "absl/strings/str_cat.h"
#include "core/backend.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"

namespace photon::ops {
namespace {

// f32 and bf16 go together, f64 with itself.
bool ComputedTogether(DType x, DType other) {
  return x == DType::kF64 ? other == DType::kF64 : other == DType::kF32 || other == DType::kBF16;
}

bool IsDense(const Tensor& t, const Shape& shape) { return t.defined() && t.shape() == shape && t.contiguous(); }
bool IsDense(const Tensor& t, const Shape& shape, DType dtype) { return IsDense(t, shape) && t.dtype() == dtype; }

// What the backward pass of AddRmsNorm needs. `sum` and `x` have one slot where there is no delta.
struct NormNode {
  const Context& context;
  const Weight& weight;
  Tensor sum, rstd;
  DType delta_type;
  std::shared_ptr<GradientSlot> x, delta, sum_slot, normalized;

  void Run() {
    Tensor dy = normalized->Take();
    const bool residual = sum_slot != nullptr && sum_slot != x;
    if (!dy.defined() && !residual) return;  // what arrived at x along the residual is in its slot already
    // Without delta, what has gathered in x's slot is taken out and returned with the norm's part added: one pass.
    Tensor dx = sum_slot != nullptr ? sum_slot->Take() : Tensor();
    if (dx.defined()) dx = AsMatrix(dx, sum.dim(0), sum.dim(1));
    Tensor ddelta;
    if (dy.defined()) {
      const Tensor dsum = std::move(dx);
      dx = dsum.exclusive() ? dsum : context.Empty(sum.shape(), sum.dtype());
      if (delta != nullptr && delta_type != sum.dtype()) ddelta = context.Empty(sum.shape(), delta_type);
      RmsNormBackward(context, AsMatrix(dy, sum.dim(0), sum.dim(1)), sum, weight.master, rstd, dsum, dx, ddelta,
                      weight.gradient);
    }
    if (!dx.defined()) return;
    if (delta != nullptr) {
      delta->Accumulate(context, ddelta.defined() ? std::move(ddelta) : Converted(context, dx, delta_type));
    }
    if (x != nullptr) x->Accumulate(context, std::move(dx));
  }
};

}  // namespace

void RmsNormForward(const Context& context, const Tensor& x, const Tensor& delta, const Tensor& weight, double eps,
                    const Tensor& sum, const Tensor& y, const Tensor& rstd) {
  const auto operands = [&] {
    return absl::StrCat("x ", x.ToString(), ", delta ", delta.ToString(), ", weight ", weight.ToString(), ", sum ",
                        sum.ToString(), ", y ", y.ToString(), ", rstd ", rstd.ToString());
  };
  PHOTON_CHECK(x.rank() == 2 && x.contiguous() && (x.dtype() == DType::kF32 || x.dtype() == DType::kF64))
      << "[rms_norm] x is not a contiguous f32 or f64 matrix: " << operands();
  PHOTON_CHECK(IsDense(weight, {x.dim(1)}, x.dtype())) << "[rms_norm] weight does not fit: " << operands();
  PHOTON_CHECK(IsDense(y, x.shape()) && ComputedTogether(x.dtype(), y.dtype()))
      << "[rms_norm] y does not fit: " << operands();
  PHOTON_CHECK(delta.defined() == sum.defined()) << "[rms_norm] delta and sum go together: " << operands();
  PHOTON_CHECK(!delta.defined() || (IsDense(delta, x.shape()) && ComputedTogether(x.dtype(), delta.dtype()) &&
                                    IsDense(sum, x.shape(), x.dtype())))
      << "[rms_norm] delta or sum does not fit: " << operands();
  PHOTON_CHECK(!rstd.defined() || IsDense(rstd, {x.dim(0)}, x.dtype()))
      << "[rms_norm] rstd does not fit: " << operands();
  context.backend().rms_norm_forward(context, x, delta, weight, eps, sum, y, rstd);
}

void RmsNormBackward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& weight,
                     const Tensor& rstd, const Tensor& dsum, const Tensor& dx, const Tensor& ddelta,
                     const Tensor& dweight) {
  const auto operands = [&] {
    return absl::StrCat("dy ", dy.ToString(), ", x ", x.ToString(), ", weight ", weight.ToString(), ", rstd ",
                        rstd.ToString(), ", dsum ", dsum.ToString(), ", dx ", dx.ToString(), ", ddelta ",
                        ddelta.ToString(), ", dweight ", dweight.ToString());
  };
  PHOTON_CHECK(x.rank() == 2 && x.contiguous() && (x.dtype() == DType::kF32 || x.dtype() == DType::kF64))
      << "[rms_norm_backward] x is not a contiguous f32 or f64 matrix: " << operands();
  PHOTON_CHECK(IsDense(dy, x.shape()) && ComputedTogether(x.dtype(), dy.dtype()))
      << "[rms_norm_backward] dy does not fit: " << operands();
  PHOTON_CHECK(IsDense(weight, {x.dim(1)}, x.dtype()) && IsDense(rstd, {x.dim(0)}, x.dtype()) &&
               IsDense(dx, x.shape(), x.dtype()))
      << "[rms_norm_backward] weight, rstd or dx does not fit: " << operands();
  PHOTON_CHECK((!dsum.defined() || IsDense(dsum, x.shape(), x.dtype())) &&
               (!dweight.defined() || IsDense(dweight, {x.dim(1)}, x.dtype())) &&
               (!ddelta.defined() || (IsDense(ddelta, x.shape()) && ComputedTogether(x.dtype(), ddelta.dtype()))))
      << "[rms_norm_backward] dsum, ddelta or dweight does not fit: " << operands();
  context.backend().rms_norm_backward(context, dy, x, weight, rstd, dsum, dx, ddelta, dweight);
}

ResidualNorm AddRmsNorm(Tape& tape, const Var& x, const Var& delta, const Weight& weight, double eps, DType output) {
  const Context& context = tape.context();
  const bool trained = weight.trained;
  const bool has_delta = delta.value.defined();
  ResidualNorm out;
  out.sum = x;
  if (has_delta) {
    out.sum =
        tape.Output(context.Empty(x.value.shape(), x.value.dtype()), x.needs_gradient() || delta.needs_gradient());
  }
  out.normalized = tape.Output(context.Empty(x.value.shape(), output), out.sum.needs_gradient() || trained);
  const bool record = out.normalized.needs_gradient();
  const Tensor rstd = record ? context.Empty({x.value.dim(0)}, x.value.dtype()) : Tensor();
  RmsNormForward(context, x.value, delta.value, weight.master, eps, has_delta ? out.sum.value : Tensor(),
                 out.normalized.value, rstd);
  if (!record) return out;
  NormNode node = {context,    weight,       out.sum.value,      rstd, delta.value.dtype(), x.slot,
                   delta.slot, out.sum.slot, out.normalized.slot};
  tape.Record(
      "add_rms_norm", [node = std::move(node)]() mutable { node.Run(); },
      trained ? std::vector<const Weight*>{&weight} : std::vector<const Weight*>{});
  return out;
}

}  // namespace photon::ops
