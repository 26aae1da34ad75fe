// Trainable tensors: name, global shape, placement, master value, gradient, and a copy in the compute type.
//
// A ParameterSet is filled in two phases. Modules Add() groups of parameters and keep the Weight* they get; Allocate()
// then lays everything out in three flat buffers (master, gradient, compute copy): a norm and a reduction are a few
// passes over contiguous memory, an optimizer step one per run of parameters that decay alike. The parameters of one
// group lie back to back: q, k and v are three parameters in a checkpoint and one [rows, D] matrix in the product.
//
// Where state is sharded (ZeRO: Rajbhandari et al., 2020), the ranks that sum a parameter's gradient share out what
// only the update needs. A rank then has of each parameter what it computes with (the compute copy, or the master where
// there is none) whole, and of the rest a range.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "core/context.h"
#include "core/parameter_layout.h"
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
  int64_t begin = 0;  // first element in the flat layout
  int bucket = 0;     // of the layout
  Tensor master;      // f32, or f64, of shape local.shape; undefined where this rank has its shard alone
  Tensor gradient;    // the same type: gradients of all microbatches are summed in it. Sharding::kGradients: while open
  Tensor compute;     // its part of the group's
  int64_t elements() const { return local.shape.elements(); }

  // Of its elements, counted row-major in its part, those whose master and moments this rank keeps. All, where nothing
  // is sharded.
  struct Shard {
    int64_t begin = 0, end = 0;
    int64_t at = 0;  // where they begin in buffers of what this rank keeps
    Tensor master;   // [end - begin]
  };
  Shard shard;
};

// One group of parameters as the operations see it: rows stacked, [sum of rows, in].
struct Weight {
  std::vector<Parameter*> parameters;
  Tensor master;                    // undefined where this rank has its shard alone: computed with is the copy
  DType master_type = DType::kF32;  // of gradients too
  Tensor gradient;                  // Sharding::kGradients: defined while open
  bool trained = false;             // a gradient is wanted
  Tensor compute;                   // compute-type copy for matrix products; the master itself where the types agree
};

// What the ranks that sum gradients share out (over dp and cp; where those have one rank, nothing).
enum class Sharding : uint8_t {
  kNone,
  kOptimizer,  // ZeRO-1: moments, and masters that have a compute copy
  kGradients,  // ZeRO-2: gradients too
};

class ParameterSet {
 public:
  // Groups share the trailing dimensions and the axes of their placement; a group of one may have any shape. The
  // pointer stays valid; its tensors exist after Allocate(). `compute_copy`: the group enters matrix products in the
  // compute type, and is read in no other way.
  const Weight* Add(std::vector<ParameterSpec> group, bool compute_copy = false);

  struct Options {
    DType master = DType::kF32;
    DType compute = DType::kF32;
    bool gradients = true;  // false for inference: no gradient buffer
    MeshCoordinates at;
    Sharding sharding = Sharding::kNone;
    int64_t bucket_bytes = 8'000'000;  // of gradients that are reduced together
  };
  void Allocate(const Context& context, const Options& options);
  // Fills the masters from the counter-based generator keyed by (seed, name, global element index), hence the same
  // under any placement, and the compute copies.
  void Initialize(const Context& context, uint64_t seed);
  // `values`, on the host, of the parameter's local shape and the master type: into what this rank has of its master,
  // and into its compute copy.
  void Set(const Context& context, const Parameter& parameter, const Tensor& values);
  // Compute copies := masters, after every change of masters that are whole here.
  void RefreshCompute(const Context& context);
  void ZeroGradients(const Context& context);

  const std::vector<std::unique_ptr<Parameter>>& parameters() const { return parameters_; }
  Parameter* Find(absl::string_view name) const;  // null where there is none
  int64_t count() const;                          // of global elements; needs no Allocate()
  // As effective: nothing is sharded where dp and cp have one rank.
  const Options& options() const { return options_; }
  bool sharded() const { return options_.sharding != Sharding::kNone; }

  // Neighbours that an update treats alike, with the gaps between their groups: of what this rank keeps.
  struct Range {
    int64_t begin, end;  // in buffers of what this rank keeps
    bool decay;
    Tensor master, gradient;
    Tensor compute;  // the elements' compute copies; undefined where they have none
  };
  std::vector<Range> Ranges() const;
  const FlatLayout& layout() const { return layout_; }

  // The flat buffers, gaps (alignment) zero. Masters that are whole here. Gradients of all elements, or with
  // Sharding::kGradients the sums of what this rank keeps.
  const Tensor& master() const { return master_; }
  const Tensor& gradient() const { return gradient_; }

  // Views of one bucket's memory. Its gradients (not with Sharding::kGradients), those that this rank keeps, and what
  // an update of shards must bring to the other ranks: whole masters or compute copies.
  Tensor BucketGradient(int bucket) const;
  Tensor OwnGradient(int bucket) const;
  Tensor Computed(int bucket) const;
  Tensor OwnComputed(int bucket) const;

  // Sharding::kGradients: a bucket's gradients exist from the first of these calls, zeroed, to the next CloseGradients,
  // which hands the memory over: [elements of the bucket].
  void OpenGradients(const Context& context, int bucket);
  Tensor CloseGradients(int bucket);
  bool GradientsOpen(int bucket) const { return open_[bucket].defined(); }

 private:
  struct Group {
    std::unique_ptr<Weight> weight;
    bool compute_copy;
    int64_t compute_begin = 0;  // first element in the flat buffer of compute copies
  };
  bool HasCopies(const Group& group) const { return group.compute_copy && options_.compute != options_.master; }
  void LayGroups();
  void AllocateBuffers(const Context& context);
  void MakeViews(const Group& group);
  // Gradients as views of `memory`, whose first element is number `first` of the flat layout; undefined clears them.
  static void ViewGradients(Weight& weight, const Tensor& memory, int64_t first);
  // Of elements [begin, end) of the flat layout, inside what this rank keeps of the bucket.
  Tensor MasterRows(const FlatBucket& bucket, int64_t begin, int64_t end) const;
  Tensor GradientRows(const FlatBucket& bucket, int64_t begin, int64_t end) const;

  Options options_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
  absl::flat_hash_map<std::string, Parameter*> by_name_;
  std::vector<Group> groups_;
  FlatLayout layout_;
  Tensor master_, gradient_, compute_;
  Tensor master_shard_;       // of masters that are not whole here
  std::vector<Tensor> open_;  // gradients of buckets
};

}  // namespace photon
