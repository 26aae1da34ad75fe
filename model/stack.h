// A stack: LLaMA-style causal Transformer layers and one final RMSNorm (spec, section 2). The only place where layers
// are written down: encoders, decoders and the flat model are all Stacks, with and without caches.
#pragma once

#include <string>
#include <vector>

#include "configs/model.pb.h"
#include "core/ops/cached_attention.h"
#include "core/parameter.h"
#include "core/tape.h"
#include "model/kv_cache.h"

namespace photon {

// Who sees whom in a call without caches.
struct AttentionPlan {
  ops::AttentionShape shape;  // batch, length and first_key; the stack fills in heads
  Tensor positions;           // i32 [rows]
};

class Stack {
 public:
  // Adds the stack's parameters under `name` ("level.1.encoder").
  Stack(ParameterSet& parameters, const std::string& name, const ModelConfig& config, int layers);

  // x [rows, D] of the master type -> the final norm's output, [rows, D] of the master type.
  // `rope_table` covers all positions. With `recompute`, only the stream between layers is kept for the backward pass.
  Var Forward(Tape& tape, const Var& x, const AttentionPlan& plan, const Tensor& rope_table, bool recompute) const;

  // The same for new positions of sequences whose caches are listed in `caches` (its layer is of no account), which are
  // written to: x [sequences * rows, D]. Values only; queues the same operations whatever the caches hold.
  Tensor Extend(const Context& context, const Tensor& x, const ops::CacheTable& caches, const Tensor& rope_table) const;

  KvCache NewCache(const Context& context, int64_t capacity) const;
  int layers() const { return static_cast<int>(layers_.size()); }

 private:
  struct Layer {
    std::string name;  // "layers.0"
    const Weight* attention_norm;
    const Weight* qkv;
    const Weight* o;
    const Weight* ffn_norm;
    const Weight* gate_up;
    const Weight* down;
  };
  // The residual stream on its way: its value is x + delta, added up by the next norm.
  struct Stream {
    Var x, delta;
  };
  using Attend = std::function<Var(Tape& tape, int layer, const Var& qkv)>;

  Stream ForwardLayer(Tape& tape, int index, const Stream& in, const Attend& attend) const;
  Var Normalize(Tape& tape, const Stream& in) const;
  ops::AttentionShape Heads() const;

  std::string name_;
  std::vector<Layer> layers_;
  const Weight* norm_;
  const ParameterSet* parameters_;
  int heads_, kv_heads_;
  int64_t head_dim_;
  double eps_;
};

}  // namespace photon
