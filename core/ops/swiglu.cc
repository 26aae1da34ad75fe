#include "core/ops/swiglu.h"

#include "core/backend.h"
#include "core/ops/checks.h"

namespace photon::ops {
namespace {

// gate_up is [N, 2 F] where y is [N, F].
bool FitsGateUp(const Tensor& gate_up, const Tensor& y) {
  return gate_up.rank() == 2 && y.rank() == 2 && IsFloating(y) && gate_up.dtype() == y.dtype() &&
         gate_up.dim(0) == y.dim(0) && gate_up.dim(1) == 2 * y.dim(1) && gate_up.contiguous() && y.contiguous();
}

}  // namespace

void SwiGluForward(const Context& context, const Tensor& gate_up, const Tensor& y) {
  PHOTON_CHECK(FitsGateUp(gate_up, y)) << "[swiglu] gate_up " << gate_up.ToString() << ", y " << y.ToString()
                                       << ": want [N, 2 F] and [N, F], contiguous, one floating dtype";
  context.backend().swiglu_forward(context, gate_up, y);
}

void SwiGluBackward(const Context& context, const Tensor& dy, const Tensor& gate_up, const Tensor& dgate_up) {
  PHOTON_CHECK(FitsGateUp(gate_up, dy) && FitsGateUp(dgate_up, dy))
      << "[swiglu_backward] dy " << dy.ToString() << ", gate_up " << gate_up.ToString() << ", dgate_up "
      << dgate_up.ToString() << ": want [N, F], [N, 2 F] and [N, 2 F], contiguous, one floating dtype";
  context.backend().swiglu_backward(context, dy, gate_up, dgate_up);
}

Var SwiGlu(Tape& tape, const Var& gate_up) {
  const Context& context = tape.context();
  const Tensor& x = gate_up.value;
  PHOTON_CHECK(x.rank() == 2 && x.dim(1) % 2 == 0) << "[swiglu] gate_up " << x.ToString() << ": want [N, 2 F]";
  Var y = tape.Output(context.Empty({x.dim(0), x.dim(1) / 2}, x.dtype()), gate_up.needs_gradient());
  SwiGluForward(context, x, y.value);
  if (!y.needs_gradient()) return y;
  tape.Record("swiglu", [&context, gate_up = x, x_slot = gate_up.slot, y_slot = y.slot] {
    const Tensor dy = y_slot->Take();
    if (!dy.defined()) return;
    // Where this node alone still holds gate_up, its memory becomes the gradient.
    Tensor gradient = gate_up.exclusive() ? gate_up : context.Empty(gate_up.shape(), gate_up.dtype());
    SwiGluBackward(context, AsMatrix(dy, gate_up.dim(0), gate_up.dim(1) / 2), gate_up, gradient);
    x_slot->Accumulate(context, std::move(gradient));
  });
  return y;
}

}  // namespace photon::ops
