#include "model/stack.h"

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/ops/matmul.h"
#include "core/ops/rms_norm.h"
#include "core/ops/swiglu.h"
#include "core/profiler.h"

namespace photon {
namespace {

constexpr Init kMatrix = {.mean = 0, .stddev = 0.02};
constexpr Init kOnes = {.mean = 1, .stddev = 0};

}  // namespace

Stack::Stack(ParameterSet& parameters, const std::string& name, const ModelConfig& config, int layers)
    : name_(name),
      parameters_(&parameters),
      heads_(config.heads()),
      kv_heads_(KvHeads(config)),
      head_dim_(HeadDim(config)),
      eps_(config.norm_eps()) {
  const int64_t d = config.width(), f = config.ffn(), kv = kv_heads_ * head_dim_;
  const auto norm = [&](const std::string& n) { return parameters.Add({{n, {d}, kOnes, false, {}}}); };
  for (int i = 0; i < layers; ++i) {
    const std::string p = absl::StrCat(name, ".layers.", i, ".");
    const auto matrix = [&](const char* n, int64_t out, int64_t in) {
      return ParameterSpec{absl::StrCat(p, n, ".weight"), {out, in}, kMatrix, true, {}};
    };
    layers_.push_back({.name = absl::StrCat("layers.", i),
                       .attention_norm = norm(p + "attention_norm.weight"),
                       .qkv = parameters.Add({matrix("attention.q_proj", d, d), matrix("attention.k_proj", kv, d),
                                              matrix("attention.v_proj", kv, d)},
                                             /*compute_copy=*/true),
                       .o = parameters.Add({matrix("attention.o_proj", d, d)}, true),
                       .ffn_norm = norm(p + "ffn_norm.weight"),
                       .gate_up = parameters.Add({matrix("ffn.gate_proj", f, d), matrix("ffn.up_proj", f, d)}, true),
                       .down = parameters.Add({matrix("ffn.down_proj", d, f)}, true)});
  }
  norm_ = norm(name + ".norm.weight");
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
  const Var attended =
      linear("attention.o_proj", attention(linear("attention.qkv_proj", a.normalized, *layer.qkv)), *layer.o);
  const ops::ResidualNorm f = norm("ffn_norm", a.sum, attended, *layer.ffn_norm);
  const Var down =
      linear("ffn.down_proj", swiglu(linear("ffn.gate_up_proj", f.normalized, *layer.gate_up)), *layer.down);
  return {f.sum, down};
}

Var Stack::Normalize(Tape& tape, const Stream& in) const {
  const Scope scope(tape.context(), "norm");
  return ops::AddRmsNorm(tape, in.x, in.delta, *norm_, eps_, parameters_->options().master).normalized;
}

Var Stack::Forward(Tape& tape, const Var& x, const AttentionPlan& plan, const Tensor& rope_table,
                   bool recompute) const {
  const Scope scope(tape.context(), name_);
  ops::AttentionShape shape = Heads();
  shape.batch = plan.shape.batch;
  shape.length = plan.shape.length;
  shape.first_key = plan.shape.first_key;
  const Attend attend = [shape, positions = plan.positions, rope_table](Tape& t, int, const Var& qkv) {
    return ops::RotaryAttention(t, qkv, shape, positions, rope_table);
  };
  Stream stream = {x, Var()};
  for (int i = 0; i < layers(); ++i) {
    if (!recompute) {
      stream = ForwardLayer(tape, i, stream, attend);
      continue;
    }
    std::vector<Var> inputs = {stream.x};
    if (i > 0) inputs.push_back(stream.delta);
    const std::vector<Var> outputs = tape.Recompute(inputs, [=, this](Tape& t, const std::vector<Var>& in) {
      const Stream out = ForwardLayer(t, i, {in[0], in.size() > 1 ? in[1] : Var()}, attend);
      return std::vector<Var>{out.x, out.delta};
    });
    stream = {outputs[0], outputs[1]};
  }
  return Normalize(tape, stream);
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
  return KvCache(context, layers(), kv_heads_ * head_dim_, parameters_->options().compute, capacity);
}

}  // namespace photon
