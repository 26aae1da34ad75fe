// Rows picked from one or two tables by index: embedding lookup, the shift, assembling and reading out windows.
#pragma once

#include "core/context.h"
#include "core/tape.h"

namespace photon::ops {

// out[i] = index[i] >= 0 ? a[index[i]] : b[-1 - index[i]].
//   a [A, W]; b [B, W] or undefined where no index is negative; index i32 [N]; out [N, W]; one floating dtype.
// Indices are the caller's promise: not checked on a device.
using SelectRowsFn = void(const Context& context, const Tensor& a, const Tensor& b, const Tensor& index,
                          const Tensor& out);
// da[index[i]] += dout[i], db likewise. da, db may be undefined (skipped); their type is dout's or f32/f64.
// The sum into one row is taken in a fixed order, a function of the index (and of the device's kind): deterministic. On
// the CPU it is that of i; a GPU rounds to the table's type once, at the end.
using SelectRowsGradientFn = void(const Context& context, const Tensor& dout, const Tensor& index, const Tensor& da,
                                  const Tensor& db);
SelectRowsFn SelectRows;
SelectRowsGradientFn SelectRowsGradient;

// Var-level. `b` may be a default Var where no index is negative.
Var SelectRows(Tape& tape, const Var& a, const Var& b, const Tensor& index);
// The table(s) being weights, in the master type. Lookup(E, t) is the token embedding; with b a weight of one row
// (the start latent), SelectOrStart(x, start, index) is the shift: index -1 takes the start latent.
Var Lookup(Tape& tape, const Weight& table, const Tensor& index);
// The same of a table whose rows are split over ranks: index counts from this rank's first row; -1, a row of another
// rank, gives zeros and no gradient. Summed over the ranks, the results are Lookup's of the whole table.
Var LookupPart(Tape& tape, const Weight& table, const Tensor& index);
Var SelectOrStart(Tape& tape, const Var& x, const Weight& start, const Tensor& index);

}  // namespace photon::ops
