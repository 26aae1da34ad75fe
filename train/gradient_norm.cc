#include "train/gradient_norm.h"

#include "core/ops/memory.h"
#include "core/ops/reduce.h"
#include "core/profiler.h"

namespace photon {
namespace {

// Axes along which ranks hold other elements of the class.
AxisSet Dividing(const FlatClass& of, bool sharded) {
  return of.split | (of.staged ? AxisSet{MeshAxis::kPp} : AxisSet()) | (sharded ? of.summed : AxisSet());
}

}  // namespace

GradientNorm::GradientNorm(const Context& context, const ParameterSet& parameters, const Mesh& mesh)
    : context_(context), square_sum_(context.Empty({1}, DType::kF64)) {
  const FlatLayout& layout = parameters.layout();
  const bool sharded = parameters.sharded();
  // Of the mesh, not of this rank's classes: another pipeline stage has others, and all must call alike.
  AxisSet axes = {MeshAxis::kPp, MeshAxis::kTp};
  if (sharded) axes = axes | AxisSet{MeshAxis::kDp, MeshAxis::kCp};
  axes = mesh.at().Proper(axes);
  std::vector<bool> counted;
  for (const FlatClass& c : layout.classes) {
    const AxisSet dividing = Dividing(c, sharded);
    PHOTON_CHECK(axes.contains(dividing)) << "parameters divided over dp or cp by their placement";
    counted.push_back(mesh.at().group_rank(axes - dividing) == 0);
    if (!sharded && counted.back()) parts_.push_back(parameters.gradient().Rows(c.begin, c.end));
  }
  if (sharded) {
    for (size_t b = 0; b < layout.buckets.size(); ++b) {
      if (counted[layout.buckets[b].in_class]) parts_.push_back(parameters.OwnGradient(static_cast<int>(b)));
    }
  }
  sums_ = context.Empty({static_cast<int64_t>(parts_.size())}, DType::kF64);
  if (!axes.empty()) group_ = &mesh.group(axes);
}

absl::Status GradientNorm::Compute() {
  const Scope scope(context_, "gradient norm");
  if (parts_.size() == 1) {
    ops::SumSquares(context_, parts_[0], square_sum_);
  } else {
    for (size_t i = 0; i < parts_.size(); ++i) {
      ops::SumSquares(context_, parts_[i], sums_.Rows(static_cast<int64_t>(i), static_cast<int64_t>(i) + 1));
    }
    ops::Zero(context_, square_sum_);
    if (!parts_.empty()) ops::AccumulateSum(context_, sums_, {}, square_sum_);
  }
  return local() ? absl::OkStatus() : group_->AllReduce("gradient norm", square_sum_, Reduction::kSum);
}

}  // namespace photon
