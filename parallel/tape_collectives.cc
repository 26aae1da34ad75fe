#include "parallel/tape_collectives.h"

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/ops/elementwise.h"
#include "core/ops/memory.h"

namespace photon {
namespace {

constexpr int kForward = 0, kBackward = 1;  // tags

Tensor Contiguous(const Context& context, const Tensor& x, DType dtype) {
  if (x.contiguous() && x.dtype() == dtype) return x;
  const Tensor copy = context.Empty(x.shape(), dtype);
  ops::Cast(context, x, copy);
  return copy;
}

Tensor Gathered(const Context& context, Communicator& group, const std::string& what, const Tensor& part) {
  Shape shape = part.shape();
  shape[0] *= group.size();
  const Tensor whole = context.Empty(shape, part.dtype());
  OrAbort(group, group.AllGather(what, part, whole));
  return whole;
}

Tensor Scattered(const Context& context, Communicator& group, const std::string& what, const Tensor& partial) {
  Shape shape = partial.shape();
  PHOTON_CHECK_EQ(shape[0] % group.size(), 0) << what << ": " << partial.ToString() << " over " << group.size();
  shape[0] /= group.size();
  const Tensor part = context.Empty(shape, partial.dtype());
  OrAbort(group, group.ReduceScatter(what, partial, part));
  return part;
}

// Rows of this rank.
Tensor Own(const Communicator& group, const Tensor& whole) {
  const int64_t n = whole.dim(0) / group.size();
  return whole.Rows(group.rank() * n, (group.rank() + 1) * n);
}

// The output of a collective on `x`, whose gradient `backward` turns into that of x, of x's shape and type.
template <typename Backward>
Var Recorded(Tape& tape, absl::string_view name, const Var& x, Tensor value, Backward backward) {
  Var y = tape.Output(std::move(value), x.needs_gradient());
  if (!y.needs_gradient()) return y;
  tape.Record(name, [&context = tape.context(), x_slot = x.slot, y_slot = y.slot, shape = x.value.shape(),
                     y_shape = y.value.shape(), x_type = x.value.dtype(), y_type = y.value.dtype(),
                     backward = std::move(backward)] {
    Tensor dy = y_slot->Take();
    // A rank may not stay away from a collective because nothing arrived here.
    if (!dy.defined()) dy = context.Zeros(y_shape, y_type);
    const Tensor dx = backward(context, Contiguous(context, dy.Reshape(y_shape), y_type));
    x_slot->Accumulate(context, Contiguous(context, dx, x_type).Reshape(shape));
  });
  return y;
}

}  // namespace

void OrAbort(Communicator& group, const absl::Status& status) {
  if (status.ok()) return;
  std::fputs(absl::StrCat("photon: ", status.message(), "\n").c_str(), stderr);
  group.Abort(1);
}

Var AllGatherRows(Tape& tape, Communicator& group, absl::string_view what, const Var& part, Then then, DType dtype) {
  const Context& context = tape.context();
  const std::string name(what);
  Tensor whole = Gathered(context, group, name, Contiguous(context, part.value, dtype));
  return Recorded(tape, "all_gather_rows", part, std::move(whole),
                  [&group, name, then](const Context& context, const Tensor& dy) {
                    return then == Then::kSame ? Own(group, dy) : Scattered(context, group, name + ", backward", dy);
                  });
}

Var ReduceScatterRows(Tape& tape, Communicator& group, absl::string_view what, const Var& partial) {
  const Context& context = tape.context();
  const std::string name(what);
  Tensor part = Scattered(context, group, name, Contiguous(context, partial.value, partial.value.dtype()));
  return Recorded(tape, "reduce_scatter_rows", partial, std::move(part),
                  [&group, name](const Context& context, const Tensor& dy) {
                    return Gathered(context, group, name + ", backward", dy);
                  });
}

Var TakeRows(Tape& tape, Communicator& group, absl::string_view what, const Var& whole) {
  PHOTON_CHECK_EQ(whole.value.dim(0) % group.size(), 0) << what << ": " << whole.value.ToString();
  return Recorded(tape, "take_rows", whole, Own(group, whole.value),
                  [&group, name = std::string(what)](const Context& context, const Tensor& dy) {
                    return Gathered(context, group, name + ", backward", dy);
                  });
}

Var SumPartial(Tape& tape, Communicator& group, absl::string_view what, const Var& partial) {
  const Context& context = tape.context();
  const Tensor sum = context.Empty(partial.value.shape(), partial.value.dtype());
  ops::Cast(context, partial.value, sum);
  OrAbort(group, group.AllReduce(what, sum, Reduction::kSum));
  return Recorded(tape, "sum_partial", partial, sum, [](const Context&, const Tensor& dy) { return dy; });
}

Var ToParts(Tape& tape, Communicator& group, absl::string_view what, const Var& whole) {
  return Recorded(tape, "to_parts", whole, whole.value,
                  [&group, name = absl::StrCat(what, ", backward")](const Context& context, const Tensor& dy) {
                    const Tensor sum = context.Empty(dy.shape(), dy.dtype());
                    ops::Cast(context, dy, sum);  // dy may be shared with others
                    OrAbort(group, group.AllReduce(name, sum, Reduction::kSum));
                    return sum;
                  });
}

Var FromRankBefore(Tape& tape, Communicator& group, absl::string_view what, const Var& x) {
  const Context& context = tape.context();
  const auto pass = [&group](const Context& context, const std::string& name, const Tensor& out, int to, int from,
                             int tag) {
    if (to >= 0 && to < group.size()) OrAbort(group, group.Post(name, out, to, tag));
    if (from < 0 || from >= group.size()) return context.Zeros(out.shape(), out.dtype());
    const Tensor in = context.Empty(out.shape(), out.dtype());
    OrAbort(group, group.Receive(name, in, from, tag));
    return in;
  };
  const int rank = group.rank();
  const std::string name(what);
  Tensor before = pass(context, name, Contiguous(context, x.value, x.value.dtype()), rank + 1, rank - 1, kForward);
  return Recorded(tape, "from_rank_before", x, std::move(before),
                  [pass, name, rank](const Context& context, const Tensor& dy) {
                    return pass(context, name + ", backward", dy, rank - 1, rank + 1, kBackward);
                  });
}

}  // namespace photon
