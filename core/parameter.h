// Trainable tensors: name, global shape, placement, master value, gradient, and a copy in the compute type.
//
// A ParameterSet is filled in two phases. Modules Add() groups of parameters and keep the Weight* they get; Allocate()
// then lays everything out in three flat buffers (master, gradient, compute copy): a norm and a reduction are one pass
// over contiguous memory, an optimizer step one per run of parameters that decay alike. The parameters of one group lie
// back to back: q, k and v are three parameters in a checkpoint and one [rows, D] matrix in the product.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "core/context.h"
#include "core/placement.h"
#include "core/tensor.h"

namespace photon {

// Initial values: N(mean, stddev); a constant where stddev is 0.
struct Init {
  double mean = 0;
  double stddev = 0;
};

struct ParameterSpec {
  std::string name;  // the spec's name, e.g. "level.1.encoder.layers.0.attention.q_proj.weight"
  Shape shape;       // global; matrices are [out, in]
  Init init;
  bool decay = false;  // weight decay applies
  Placement placement;
};

// A parameter of this rank. Its tensors are views into the set's flat buffers.
struct Parameter {
  ParameterSpec spec;
  Region local;       // this rank's part
  int64_t begin = 0;  // first element in the flat buffers
  Tensor master;      // f32 (f64 in tests), shape local.shape
  Tensor gradient;    // the same type: gradients of all microbatches are summed in it
  int64_t elements() const { return local.shape.elements(); }
};

// One group of parameters as the operations see it: rows stacked, [sum of rows, in].
struct Weight {
  std::vector<Parameter*> parameters;
  Tensor master;
  Tensor gradient;
  Tensor compute;  // compute-type copy for matrix products; the master itself where the types agree
};

class ParameterSet {
 public:
  // Groups share the trailing dimensions; a group of one may have any shape. The pointer stays valid; its tensors
  // exist after Allocate(). `compute_copy`: the group enters matrix products in the compute type.
  const Weight* Add(std::vector<ParameterSpec> group, bool compute_copy = false);

  struct Options {
    DType master = DType::kF32;
    DType compute = DType::kF32;
    bool gradients = true;  // false for inference: no gradient buffer
    MeshCoordinates at;
  };
  void Allocate(const Context& context, const Options& options);
  // Fills the masters from the counter-based generator keyed by (seed, name, global element index), hence the same
  // under any placement, and refreshes the compute copies.
  void Initialize(const Context& context, uint64_t seed);
  void RefreshCompute(const Context& context);  // compute copies := masters, after every change of them
  void ZeroGradients(const Context& context);

  const std::vector<std::unique_ptr<Parameter>>& parameters() const { return parameters_; }
  Parameter* Find(absl::string_view name) const;  // null where there is none
  int64_t count() const;                          // of global elements; needs no Allocate()
  // Neighbours in the flat buffers that an update treats alike, with the gaps between their groups.
  struct Range {
    int64_t begin, end;
    bool decay;
    Tensor compute;  // the elements' compute copies; undefined where they have none
  };
  std::vector<Range> Ranges() const;
  // The flat buffers, gaps between groups (alignment) zero.
  const Tensor& master() const { return master_; }
  const Tensor& gradient() const { return gradient_; }
  const Options& options() const { return options_; }

 private:
  struct Group {
    std::unique_ptr<Weight> weight;
    bool compute_copy;
    int64_t compute_begin = 0;  // first element in the flat buffer of compute copies
  };
  Options options_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
  absl::flat_hash_map<std::string, Parameter*> by_name_;
  std::vector<Group> groups_;
  Tensor master_, gradient_, compute_;
};

}  // namespace photon
