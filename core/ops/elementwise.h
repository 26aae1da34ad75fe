// Conversions and sums.
#pragma once

#include "core/context.h"
#include "core/tape.h"

namespace photon::ops {

// out = in, converted. Same shape, floating dtypes, rows may be strided.
using CastFn = void(const Context& context, const Tensor& in, const Tensor& out);
// out += in. Same shape; floating dtypes, which may differ; arithmetic in out's accumulate type.
using AddFn = void(const Context& context, const Tensor& in, const Tensor& out);
// out[j] += sum over i of in[i, j]. in [N, W] floating, out [W] f32 (f64 with f64). Fixed order of summation.
using SumRowsFn = void(const Context& context, const Tensor& in, const Tensor& out);

CastFn Cast;
AddFn Add;
SumRowsFn SumRows;

// Var-level: a + b, of a's type. b has a's shape and any floating type.
Var Sum(Tape& tape, const Var& a, const Var& b);

// `t` as `dtype`: itself where it has that type, else a converted copy.
Tensor Converted(const Context& context, const Tensor& t, DType dtype);

}  // namespace photon::ops
