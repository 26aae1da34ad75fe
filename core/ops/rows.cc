#include "core/ops/rows.h"

#include "core/backend.h"
#include "core/ops/checks.h"

namespace photon::ops {
namespace {

bool IsTable(const Tensor& t) { return IsMatrix(t) && IsFloating(t); }

bool IsIndex(const Tensor& t, int64_t n) { return t.shape() == Shape{n} && t.dtype() == DType::kI32 && t.contiguous(); }

// dx of the rows taken from the values of one or two Vars, with zeros where none was taken.
struct Taken {
  std::shared_ptr<GradientSlot> slot;  // null: no gradient is wanted
  Shape shape;
  DType dtype;
  explicit Taken(const Var& from) : slot(from.slot), shape(from.value.shape()), dtype(from.value.dtype()) {}
};
void AccumulateRows(const Context& context, const Tensor& dy, const Tensor& index, const Taken& a, const Taken& b) {
  const auto zeros = [&](const Taken& taken) {
    return taken.slot != nullptr ? context.Zeros(taken.shape, taken.dtype) : Tensor();
  };
  Tensor da = zeros(a), db = zeros(b);
  SelectRowsGradient(context, dy, index, da, db);
  if (da.defined()) a.slot->Accumulate(context, std::move(da));
  if (db.defined()) b.slot->Accumulate(context, std::move(db));
}

// A weight as a table: a vector is one row.
Tensor AsTable(const Tensor& t) { return t.rank() == 1 ? t.Reshape({1, t.dim(0)}) : t; }

// `constant`: the rows that negative indices take, which have no gradient.
Var LookupOr(Tape& tape, const Weight& table, const Tensor& constant, const Tensor& index) {
  const Context& context = tape.context();
  const int64_t width = table.master.dim(1);
  Var y = tape.Output(context.Empty({index.dim(0), width}, table.master.dtype()), /*needs_gradient=*/true);
  SelectRows(context, table.master, constant, index, y.value);
  if (!y.needs_gradient()) return y;
  const auto backward = [&tape, &table, index, width, y_slot = y.slot] {
    const Tensor dy = y_slot->Take();
    if (!dy.defined()) return;
    tape.WeightGradient([&context = tape.context(), &table, index, dy = AsMatrix(dy, index.dim(0), width)] {
      SelectRowsGradient(context, dy, index, table.gradient, Tensor());
    });
  };
  tape.Record("lookup", backward, {&table});
  return y;
}

}  // namespace

void SelectRows(const Context& context, const Tensor& a, const Tensor& b, const Tensor& index, const Tensor& out) {
  PHOTON_CHECK(IsTable(a) && IsTable(out) && IsIndex(index, out.dim(0)) && a.dim(1) == out.dim(1) &&
               a.dtype() == out.dtype() &&
               (!b.defined() || (IsTable(b) && b.dim(1) == out.dim(1) && b.dtype() == out.dtype())))
      << "[select_rows] a " << a.ToString() << ", b " << b.ToString() << ", index " << index.ToString() << ", out "
      << out.ToString();
  context.backend().select_rows(context, a, b, index, out);
}

void SelectRowsGradient(const Context& context, const Tensor& dout, const Tensor& index, const Tensor& da,
                        const Tensor& db) {
  const auto fits = [&](const Tensor& d) {
    return !d.defined() || (IsTable(d) && d.dim(1) == dout.dim(1) &&
                            (d.dtype() == dout.dtype() || d.dtype() == DType::kF32 || d.dtype() == DType::kF64));
  };
  PHOTON_CHECK(IsTable(dout) && IsIndex(index, dout.dim(0)) && fits(da) && fits(db))
      << "[select_rows_gradient] dout " << dout.ToString() << ", index " << index.ToString() << ", da " << da.ToString()
      << ", db " << db.ToString();
  if (!da.defined() && !db.defined()) return;
  context.backend().select_rows_gradient(context, dout, index, da, db);
}

Var SelectRows(Tape& tape, const Var& a, const Var& b, const Tensor& index) {
  const Context& context = tape.context();
  const int64_t width = a.value.dim(1);
  Var y = tape.Output(context.Empty({index.dim(0), width}, a.value.dtype()), a.needs_gradient() || b.needs_gradient());
  SelectRows(context, a.value, b.value, index, y.value);
  if (!y.needs_gradient()) return y;
  tape.Record("select_rows", [&context, index, width, of_a = Taken(a), of_b = Taken(b), y_slot = y.slot] {
    const Tensor dy = y_slot->Take();
    if (dy.defined()) AccumulateRows(context, AsMatrix(dy, index.dim(0), width), index, of_a, of_b);
  });
  return y;
}

Var Lookup(Tape& tape, const Weight& table, const Tensor& index) { return LookupOr(tape, table, Tensor(), index); }

Var LookupPart(Tape& tape, const Weight& table, const Tensor& index) {
  const Tensor zeros = tape.context().Zeros({1, table.master.dim(1)}, table.master.dtype());
  return LookupOr(tape, table, zeros, index);
}

Var SelectOrStart(Tape& tape, const Var& x, const Weight& start, const Tensor& index) {
  const Context& context = tape.context();
  const int64_t width = x.value.dim(1);
  Var y = tape.Output(context.Empty({index.dim(0), width}, x.value.dtype()), /*needs_gradient=*/true);
  SelectRows(context, x.value, AsTable(start.master), index, y.value);
  if (!y.needs_gradient()) return y;
  const auto backward = [&tape, &start, index, width, of_x = Taken(x), y_slot = y.slot] {
    const Context& context = tape.context();
    Tensor dy = y_slot->Take();
    if (!dy.defined()) return;
    dy = AsMatrix(dy, index.dim(0), width);
    AccumulateRows(context, dy, index, of_x, Taken(Var()));
    tape.WeightGradient(
        [&context, &start, index, dy] { SelectRowsGradient(context, dy, index, Tensor(), AsTable(start.gradient)); });
  };
  tape.Record("select_or_start", backward, {&start});
  return y;
}

}  // namespace photon::ops
