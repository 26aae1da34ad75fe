// SwiGLU (Shazeer 2020): silu(gate) * up.
#pragma once

#include "core/context.h"
#include "core/tape.h"

namespace photon::ops {

// y = silu(g) * u. gate_up [N, 2 F] holds g in columns 0 .. F-1 and u in F .. 2F-1; y [N, F]; one floating dtype,
// contiguous.
using SwiGluForwardFn = void(const Context& context, const Tensor& gate_up, const Tensor& y);
// dgate_up [N, 2 F] overwritten; may be gate_up itself.
using SwiGluBackwardFn = void(const Context& context, const Tensor& dy, const Tensor& gate_up, const Tensor& dgate_up);
SwiGluForwardFn SwiGluForward;
SwiGluBackwardFn SwiGluBackward;

Var SwiGlu(Tape& tape, const Var& gate_up);

}  // namespace photon::ops
