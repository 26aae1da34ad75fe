// How one stack is spread over ranks.
#pragma once

#include <vector>

#include "configs/parallel.pb.h"
#include "core/placement.h"
#include "parallel/communicator.h"

namespace photon {

struct StackLayout {
  // The ranks that split heads and features: each computes its heads and its part of the feed-forward, of all rows.
  // Norms and the residual stream are split by rows among them. Null: one rank has all heads.
  Communicator* tensor = nullptr;
  // The ranks that hold the spans of each sequence; a span's queries look at the keys of the spans before it. Null:
  // sequences are whole, or attention ends inside the span.
  Communicator* spans = nullptr;
  SpanLayout::Kind span_kind = SpanLayout::GATHER;
  // Of norms; matrices that `tensor` splits have its split besides.
  Placement replicated;
  // Of each layer (the final norm is the last one's), the pipeline stage that has it, -1 for every one; empty where
  // there is no pipeline. Layers of other stages than `own_stage` have no parameters here.
  std::vector<int> stages;
  int own_stage = 0;

  bool Here(int layer) const { return stages.empty() || stages[layer] < 0 || stages[layer] == own_stage; }
  Placement Norm(int layer) const {
    Placement placement = replicated;
    placement.stage = stages.empty() ? -1 : stages[layer];
    return placement;
  }
  Placement Matrix(int layer, int dim) const {
    Placement placement = Norm(layer);
    if (tensor == nullptr) return placement;
    placement.splits.push_back({dim, MeshAxis::kTp});
    placement.summed = placement.summed - AxisSet{MeshAxis::kTp};
    return placement;
  }
};

}  // namespace photon
