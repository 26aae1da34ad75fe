#include "core/ops/matmul.h"

#include "absl/strings/str_cat.h"
#include "core/backend.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"

namespace photon::ops {
void MatMul(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
            const Tensor& bias, float beta, const Tensor& c) {
  const auto operands = [&] {
    return absl::StrCat("a ", a.ToString(), transpose_a ? " transposed" : "", ", b ", b.ToString(),
                        transpose_b ? " transposed" : "", ", bias ", bias.ToString(), ", c ", c.ToString());
  };
  PHOTON_CHECK(IsMatrix(a) && IsMatrix(b) && IsMatrix(c)) << "[matmul] not matrices of contiguous rows: " << operands();
  PHOTON_CHECK(a.dim(transpose_a ? 0 : 1) == b.dim(transpose_b ? 1 : 0) && a.dim(transpose_a ? 1 : 0) == c.dim(0) &&
               b.dim(transpose_b ? 0 : 1) == c.dim(1))
      << "[matmul] shapes do not fit: " << operands();
  PHOTON_CHECK(IsFloating(a) && a.dtype() == b.dtype() &&
               (c.dtype() == a.dtype() || (a.dtype() == DType::kBF16 && c.dtype() == DType::kF32)))
      << "[matmul] dtypes do not fit: " << operands();
  const DType bias_type = a.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  PHOTON_CHECK(!bias.defined() || (bias.shape() == Shape{c.dim(1)} && bias.contiguous() && bias.dtype() == bias_type))
      << "[matmul] bias does not fit: " << operands();
  PHOTON_CHECK(beta == 0 || beta == 1) << "[matmul] beta " << beta << " is neither 0 nor 1: " << operands();
  context.backend().matmul(context, a, transpose_a, b, transpose_b, bias, beta, c);
}

Var Linear(Tape& tape, const Var& x, const Weight& weight, const Weight* bias, DType output) {
  const Context& context = tape.context();
  const Tensor& w = weight.compute;
  PHOTON_CHECK(IsMatrix(x.value) && w.rank() == 2 && x.value.dim(1) == w.dim(1) &&
               (x.value.dtype() == w.dtype() || x.value.dtype() == weight.master_type))
      << "[linear] x " << x.value.ToString() << ", weight " << w.ToString() << " of master "
      << Name(weight.master_type);
  const int64_t rows = x.value.dim(0);
  const int64_t outputs = w.dim(0);
  const Tensor input = Converted(context, x.value, w.dtype());
  Var y = tape.Output(context.Empty({rows, outputs}, output), /*needs_gradient=*/true);
  MatMul(context, input, false, w, true, bias != nullptr ? bias->master : Tensor(), 0, y.value);
  if (!y.needs_gradient()) return y;

  std::vector<const Weight*> weights = {&weight};
  if (bias != nullptr) weights.push_back(bias);
  // Saves the input in the compute type alone; x's own type is all that dx needs to know of x.
  const auto backward = [&tape, &weight, bias, input, x_type = x.value.dtype(), x_slot = x.slot, y_slot = y.slot, rows,
                         outputs] {
    const Context& context = tape.context();
    Tensor dy = y_slot->Take();
    if (!dy.defined()) return;
    dy = AsMatrix(dy, rows, outputs);
    const Tensor dy_compute = Converted(context, dy, input.dtype());
    if (x_slot != nullptr) {
      const Tensor dx = context.Empty(input.shape(), x_type);
      MatMul(context, dy_compute, false, weight.compute, false, Tensor(), 0, dx);
      x_slot->Accumulate(context, dx);
    }
    tape.WeightGradient([&context, &weight, bias, input, dy_compute, dy = bias != nullptr ? dy : Tensor()] {
      MatMul(context, dy_compute, true, input, false, Tensor(), 1, weight.gradient);
      if (bias != nullptr) SumRows(context, dy, bias->gradient);
    });
  };
  tape.Record("linear", backward, std::move(weights));
  return y;
}

}  // namespace photon::ops
