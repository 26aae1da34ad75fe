#include "model/span_attention.h"

#include "core/ops/elementwise.h"
#include "core/ops/memory.h"
#include "core/ops/rope.h"
#include "core/ops/rows.h"
#include "parallel/tape_collectives.h"

namespace photon {
namespace {

constexpr char kWhat[] = "keys and values";
constexpr char kWhatBackward[] = "gradient of keys and values";

// Moves blocks of keys and values between the ranks that hold the spans. A block: [rows of a span, 2 kv_heads d].
class Exchange {
 public:
  Exchange(const Context& context, Communicator& group, SpanLayout::Kind kind)
      : context_(context), group_(group), gather_(kind != SpanLayout::PASS_ON) {}

  // The blocks of spans 0 .. rank, one after the other.
  Tensor Collect(const Tensor& own) const {
    const int64_t rows = own.dim(0);
    if (gather_) {
      const Tensor all = context_.Empty({rows * group_.size(), own.dim(1)}, own.dtype());
      OrAbort(group_, group_.AllGather(kWhat, own, all));
      return all.Rows(0, rows * (group_.rank() + 1));
    }
    const Tensor all = context_.Empty({rows * (group_.rank() + 1), own.dim(1)}, own.dtype());
    ops::Cast(context_, own, Block(all, group_.rank()));
    for (int span = group_.rank(); span >= 0; --span) {
      if (span < group_.rank()) OrAbort(group_, group_.Receive(kWhat, Block(all, span), group_.rank() - 1, 0));
      if (!last()) OrAbort(group_, group_.Post(kWhat, Block(all, span), group_.rank() + 1, 0));
    }
    return all;
  }

  // `gradients` of the blocks of spans 0 .. rank; returns the sum over ranks of that of the own block.
  Tensor GiveBack(const Tensor& gradients) const {
    const int64_t rows = gradients.dim(0) / (group_.rank() + 1);
    if (gather_) {
      const Tensor all = context_.Zeros({rows * group_.size(), gradients.dim(1)}, gradients.dtype());
      ops::Cast(context_, gradients, all.Rows(0, gradients.dim(0)));
      const Tensor own = context_.Empty({rows, gradients.dim(1)}, gradients.dtype());
      OrAbort(group_, group_.ReduceScatter(kWhatBackward, all, own));
      return own;
    }
    const Tensor arrived = context_.Empty({rows, gradients.dim(1)}, gradients.dtype());
    for (int span = 0; span <= group_.rank(); ++span) {
      const Tensor block = Block(gradients, span);
      if (!last()) {
        OrAbort(group_, group_.Receive(kWhatBackward, arrived, group_.rank() + 1, 1));
        ops::Add(context_, arrived, block);
      }
      if (span < group_.rank()) OrAbort(group_, group_.Post(kWhatBackward, block, group_.rank() - 1, 1));
    }
    return Block(gradients, group_.rank());
  }

 private:
  bool last() const { return group_.rank() == group_.size() - 1; }
  Tensor Block(const Tensor& blocks, int span) const {
    const int64_t rows = blocks.dim(0) / (group_.rank() + 1);
    return blocks.Rows(span * rows, (span + 1) * rows);
  }

  const Context& context_;
  Communicator& group_;
  bool gather_;
};

}  // namespace

Var SpanAttention(Tape& tape, const Var& qkv, const ops::AttentionShape& shape, const Tensor& positions,
                  const Tensor& rope_table, Communicator& group, SpanLayout::Kind kind, const PlanCache& plans) {
  const Context& context = tape.context();
  const Tensor& x = qkv.value;
  const int64_t keys = shape.heads * shape.head_dim, width = shape.kv_heads * shape.head_dim;
  const int64_t spans_seen = group.rank() + 1;
  PHOTON_CHECK(x.rank() == 2 && x.dim(1) == keys + 2 * width && x.dim(0) == shape.batch * shape.length)
      << "[span_attention] qkv " << x.ToString();
  ops::AttentionShape longer = shape;
  longer.keys = spans_seen * shape.length;
  longer.offset = group.rank() * shape.length;

  ops::Rope(context, x.Columns(0, keys + width), shape.head_dim, positions, rope_table, /*inverse=*/false);
  const Tensor own = context.Empty({x.dim(0), 2 * width}, x.dtype());
  ops::Cast(context, x.Columns(keys, keys + 2 * width), own);
  const Tensor collected = Exchange(context, group, kind).Collect(own);
  // Span by span; attention wants sequence by sequence.
  const bool reorder = shape.batch > 1 && spans_seen > 1;
  const Tensor order = reorder ? plans.BySequence(context, shape.batch, spans_seen, shape.length) : Tensor();
  Tensor kv = collected;
  if (reorder) {
    kv = context.Empty(collected.shape(), collected.dtype());
    ops::SelectRows(context, collected, Tensor(), order, kv);
  }

  const Tensor value = context.Empty({x.dim(0), keys}, x.dtype());
  const Var out = tape.Output(value, qkv.needs_gradient());
  const DType lse_type = x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const Tensor lse = out.needs_gradient() ? context.Empty({shape.heads, x.dim(0)}, lse_type) : Tensor();
  ops::AttentionForward(context, x.Columns(0, keys), kv.Columns(0, width), kv.Columns(width, 2 * width), longer, value,
                        lse);
  if (!out.needs_gradient()) return out;
  tape.Record("span_attention", [&context, &group, kind, x, kv, order, slot = qkv.slot, out, lse, longer, keys, width,
                                 positions, rope_table] {
    Tensor dout = out.slot->Take();
    // A rank may not stay away from an exchange because nothing arrived here.
    dout = dout.defined() ? dout.Reshape(out.value.shape()) : context.Zeros(out.value.shape(), x.dtype());
    const Tensor dx = context.Empty(x.shape(), x.dtype());
    Tensor dkv = context.Empty(kv.shape(), kv.dtype());
    ops::AttentionBackward(context, dout, x.Columns(0, keys), kv.Columns(0, width), kv.Columns(width, 2 * width),
                           out.value, lse, longer, dx.Columns(0, keys), dkv.Columns(0, width),
                           dkv.Columns(width, 2 * width));
    if (order.defined()) {
      const Tensor by_span = context.Zeros(dkv.shape(), dkv.dtype());
      ops::SelectRowsGradient(context, dkv, order, by_span, Tensor());
      dkv = by_span;
    }
    const Tensor own = Exchange(context, group, kind).GiveBack(dkv);
    ops::Cast(context, own, dx.Columns(keys, keys + 2 * width));
    ops::Rope(context, dx.Columns(0, keys + width), longer.head_dim, positions, rope_table, /*inverse=*/true);
    slot->Accumulate(context, dx);
  });
  return out;
}

}  // namespace photon
