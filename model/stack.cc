#include "model/stack.h"

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/ops/matmul.h"
#include "core/ops/rms_norm.h"
#include "core/ops/swiglu.h"
#include "core/profiler.h"
#include "model/plan_cache.h"
#include "model/span_attention.h"
#include "parallel/tape_collectives.h"

namespace photon {
namespace {

constexpr Init kMatrix = {.mean = 0, .stddev = 0.02};
constexpr Init kOnes = {.mean = 1, .stddev = 0};

}  // namespace

Stack::Stack(ParameterSet& parameters, const PlanCache& plans, const std::string& name, const ModelConfig& config,
             int layers, const StackLayout& layout)
    : name_(name),
      parameters_(&parameters),
      plans_(&plans),
      layout_(layout),
      head_dim_(HeadDim(config)),
      eps_(config.norm_eps()) {
  const int ranks = layout.tensor == nullptr ? 1 : layout.tensor->size();
  heads_ = config.heads() / ranks;
  kv_heads_ = KvHeads(config) / ranks;
  const int64_t d = config.width(), f = config.ffn(), kv = KvHeads(config) * head_dim_;
  const auto norm = [&](const std::string& n, int layer) {
    return parameters.Add({{n, {d}, kOnes, false, layout.Norm(layer)}});
  };
  for (int i = 0; i < layers; ++i) {
    Layer& layer = layers_.emplace_back(Layer{.name = absl::StrCat("layers.", i)});
    if (!layout.Here(i)) continue;
    const std::string p = absl::StrCat(name, ".layers.", i, ".");
    const auto matrix = [&](const char* n, int64_t out, int64_t in, int split = 0) {
      return ParameterSpec{absl::StrCat(p, n, ".weight"), {out, in}, kMatrix, true, layout.Matrix(i, split)};
    };
    const auto add = [&](std::vector<ParameterSpec> group) { return parameters.Add(std::move(group), true); };
    layer.attention_norm = norm(p + "attention_norm.weight", i);
    layer.qkv =
        add({matrix("attention.q_proj", d, d), matrix("attention.k_proj", kv, d), matrix("attention.v_proj", kv, d)});
    layer.o = add({matrix("attention.o_proj", d, d, 1)});
    layer.ffn_norm = norm(p + "ffn_norm.weight", i);
    layer.gate_up = add({matrix("ffn.gate_proj", f, d), matrix("ffn.up_proj", f, d)});
    layer.down = add({matrix("ffn.down_proj", d, f, 1)});
  }
  if (layout.Here(layers - 1)) norm_ = norm(name + ".norm.weight", layers - 1);
}

ops::AttentionShape Stack::Heads() const {
  return {.heads = heads_, .kv_heads = kv_heads_, .head_dim = head_dim_, .first_key = {}};
}

Stack::Stream Stack::ForwardLayer(Tape& tape, int index, const Stream& in, const Attend& attend) const {
  const Layer& layer = layers_[index];
  const DType compute = parameters_->options().compute;
  const Context& context = tape.context();
  const Scope scope(context, layer.name);
  const auto norm = [&](const char* name, const Var& x, const Var& delta, const Weight& weight) {
    const Scope inner(context, name);
    return ops::AddRmsNorm(tape, x, delta, weight, eps_, compute);
  };
  const auto linear = [&](const char* name, const Var& x, const Weight& weight) {
    const Scope inner(context, name);
    return ops::Linear(tape, x, weight, nullptr, compute);
  };
  const auto attention = [&](const Var& qkv) {
    const Scope inner(context, "attention");
    return attend(tape, index, qkv);
  };
  const auto swiglu = [&](const Var& gate_up) {
    const Scope inner(context, "ffn.swiglu");
    return ops::SwiGlu(tape, gate_up);
  };
  const ops::ResidualNorm a = norm("attention_norm", in.x, in.delta, *layer.attention_norm);
  const Var qkv = linear("attention.qkv_proj", AllRows(tape, a.normalized), *layer.qkv);
  const Var attended = OwnRows(tape, linear("attention.o_proj", attention(qkv), *layer.o));
  const ops::ResidualNorm f = norm("ffn_norm", a.sum, attended, *layer.ffn_norm);
  const Var gate_up = linear("ffn.gate_up_proj", AllRows(tape, f.normalized), *layer.gate_up);
  return {f.sum, OwnRows(tape, linear("ffn.down_proj", swiglu(gate_up), *layer.down))};
}

Var Stack::AllRows(Tape& tape, const Var& own) const {
  if (layout_.tensor == nullptr) return own;
  return AllGatherRows(tape, *layout_.tensor, "rows of a layer", own, Then::kParts);
}

Var Stack::OwnRows(Tape& tape, const Var& partial) const {
  if (layout_.tensor == nullptr) return partial;
  return ReduceScatterRows(tape, *layout_.tensor, "sums of a layer", partial);
}

Var Stack::Normalize(Tape& tape, const Stream& in) const {
  const Scope scope(tape.context(), "norm");
  return ops::AddRmsNorm(tape, in.x, in.delta, *norm_, eps_, parameters_->options().master).normalized;
}

Stack::Stream Stack::Enter(Tape& tape, const Var& x) const {
  return {layout_.tensor == nullptr ? x : TakeRows(tape, *layout_.tensor, "rows of a stack", x), Var()};
}

Stack::Stream Stack::Layers(Tape& tape, Stream in, int begin, int end, const AttentionPlan& plan,
                            const Tensor& rope_table, bool recompute) const {
  const Scope scope(tape.context(), name_);
  ops::AttentionShape shape = Heads();
  shape.batch = plan.shape.batch;
  shape.length = plan.shape.length;
  shape.first_key = plan.shape.first_key;
  const Attend attend = [shape, positions = plan.positions, rope_table, layout = layout_, plans = plans_](
                            Tape& t, int, const Var& qkv) {
    if (layout.spans == nullptr) return ops::RotaryAttention(t, qkv, shape, positions, rope_table);
    return SpanAttention(t, qkv, shape, positions, rope_table, *layout.spans, layout.span_kind, *plans);
  };
  for (int i = begin; i < end; ++i) {
    if (!recompute) {
      in = ForwardLayer(tape, i, in, attend);
      continue;
    }
    std::vector<Var> inputs = {in.x};
    if (in.delta.value.defined()) inputs.push_back(in.delta);
    const std::vector<Var> outputs = tape.Recompute(inputs, [=, this](Tape& t, const std::vector<Var>& x) {
      const Stream out = ForwardLayer(t, i, {x[0], x.size() > 1 ? x[1] : Var()}, attend);
      return std::vector<Var>{out.x, out.delta};
    });
    in = {outputs[0], outputs[1]};
  }
  return in;
}

Var Stack::Leave(Tape& tape, const Stream& in) const {
  const Scope scope(tape.context(), name_);
  const Var out = Normalize(tape, in);
  if (layout_.tensor == nullptr) return out;
  return AllGatherRows(tape, *layout_.tensor, "rows of a stack", out, Then::kSame);
}

Var Stack::Forward(Tape& tape, const Var& x, const AttentionPlan& plan, const Tensor& rope_table,
                   bool recompute) const {
  return Leave(tape, Layers(tape, Enter(tape, x), 0, layers(), plan, rope_table, recompute));
}

Tensor Stack::Extend(const Context& context, const Tensor& x, const ops::CacheTable& caches,
                     const Tensor& rope_table) const {
  const Scope scope(context, name_);
  const Attend attend = [&](Tape& tape, int layer, const Var& qkv) {
    ops::CacheTable own = caches;
    own.layer = layer;
    ops::AppendToCaches(context, qkv.value, own, Heads(), rope_table);
    const Tensor q = qkv.value.Columns(0, heads_ * head_dim_);
    const Tensor out = context.Empty(q.shape(), q.dtype());
    ops::CachedAttention(context, q, own, Heads(), out);
    return Var(out);
  };
  Tape tape(context, Tape::Mode::kEvaluate);
  Stream stream = {Var(x), Var()};
  for (int i = 0; i < layers(); ++i) stream = ForwardLayer(tape, i, stream, attend);
  return Normalize(tape, stream).value;
}

KvCache Stack::NewCache(const Context& context, int64_t capacity) const {
  return KvCache(context, layers(), kv_heads_, head_dim_, parameters_->options().compute, capacity);
}

}  // namespace photon
