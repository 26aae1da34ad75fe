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
#include "model/stack_layout.h"

namespace photon {

class PlanCache;  // model/plan_cache.h

// Who sees whom in a call without caches.
struct AttentionPlan {
  ops::AttentionShape shape;  // batch, length and first_key; the stack fills in heads
  Tensor positions;           // i32 [rows]
  int64_t end = 0;            // all positions are below
};

class Stack {
 public:
  // Adds the stack's parameters (those of layers that are here) under `name` ("level.1.encoder"). `plans` outlives it.
  Stack(ParameterSet& parameters, const PlanCache& plans, const std::string& name, const ModelConfig& config,
        int layers, const StackLayout& layout);

  // x [rows, D] of the master type -> the final norm's output, [rows, D] of the master type. The rows of this rank's
  // spans; where heads are split, the same on all ranks that split them, and their number divides among them.
  // `rope_table` covers all positions. With `recompute`, only the stream between layers is kept for the backward pass.
  Var Forward(Tape& tape, const Var& x, const AttentionPlan& plan, const Tensor& rope_table, bool recompute) const;

  // The same in pieces, for pipelines. The residual stream on its way: its value is x + delta, added up by the next
  // norm. Where heads are split, the rows of this rank.
  struct Stream {
    Var x, delta;
  };
  Stream Enter(Tape& tape, const Var& x) const;
  // Layers [begin, end).
  Stream Layers(Tape& tape, Stream in, int begin, int end, const AttentionPlan& plan, const Tensor& rope_table,
                bool recompute) const;
  Var Leave(Tape& tape, const Stream& in) const;

  // The same for new positions of sequences whose caches are listed in `caches` (its layer is of no account), which are
  // written to: x [sequences * rows, D]. Values only; queues the same operations whatever the caches hold.
  Tensor Extend(const Context& context, const Tensor& x, const ops::CacheTable& caches, const Tensor& rope_table) const;

  KvCache NewCache(const Context& context, int64_t capacity) const;
  int layers() const { return static_cast<int>(layers_.size()); }

 private:
  struct Layer {
    std::string name;  // "layers.0"
    const Weight* attention_norm = nullptr;
    const Weight* qkv = nullptr;
    const Weight* o = nullptr;
    const Weight* ffn_norm = nullptr;
    const Weight* gate_up = nullptr;
    const Weight* down = nullptr;
  };
  using Attend = std::function<Var(Tape& tape, int layer, const Var& qkv)>;

  Stream ForwardLayer(Tape& tape, int index, const Stream& in, const Attend& attend) const;
  Var Normalize(Tape& tape, const Stream& in) const;
  // Around what splits heads and features: all rows for each rank, then the sum over ranks of its own rows.
  Var AllRows(Tape& tape, const Var& own) const;
  Var OwnRows(Tape& tape, const Var& partial) const;
  ops::AttentionShape Heads() const;  // of this rank

  std::string name_;
  std::vector<Layer> layers_;
  const Weight* norm_ = nullptr;
  const ParameterSet* parameters_;
  const PlanCache* plans_;
  StackLayout layout_;
  int heads_, kv_heads_;  // of this rank
  int64_t head_dim_;
  double eps_;
};

}  // namespace photon
