#include "core/parameter.h"

#include "core/cpu/parallel_for.h"
#include "core/ops/elementwise.h"
#include "core/ops/memory.h"
#include "core/random.h"

namespace photon {
namespace {

constexpr int64_t kGroupAlignment = 64;  // elements: whole cache lines in every type

int64_t RoundUp(int64_t n) { return (n + kGroupAlignment - 1) / kGroupAlignment * kGroupAlignment; }

// Global index of element `i` of the region, both counted row-major.
int64_t GlobalIndex(const Region& region, const Shape& global, int64_t i) {
  int64_t index = 0, stride = 1;
  for (int d = global.rank() - 1; d >= 0; --d) {
    index += (region.offset[d] + i % region.shape[d]) * stride;
    i /= region.shape[d];
    stride *= global[d];
  }
  return index;
}

Shape StackedShape(const std::vector<Parameter*>& parameters) {
  Shape shape = parameters[0]->local.shape;
  for (size_t i = 1; i < parameters.size(); ++i) shape[0] += parameters[i]->local.shape[0];
  return shape;
}

}  // namespace

const Weight* ParameterSet::Add(std::vector<ParameterSpec> group, bool compute_copy) {
  auto weight = std::make_unique<Weight>();
  for (ParameterSpec& spec : group) {
    PHOTON_CHECK(Find(spec.name) == nullptr) << "parameter " << spec.name << " added twice";
    parameters_.push_back(std::make_unique<Parameter>());
    parameters_.back()->spec = std::move(spec);
    by_name_[parameters_.back()->spec.name] = parameters_.back().get();
    weight->parameters.push_back(parameters_.back().get());
  }
  groups_.push_back({std::move(weight), compute_copy});
  return groups_.back().weight.get();
}

void ParameterSet::Allocate(const Context& context, const Options& options) {
  options_ = options;
  int64_t total = 0, compute_total = 0;
  for (Group& group : groups_) {
    const int64_t begin = total;
    for (Parameter* p : group.weight->parameters) {
      p->local = LocalRegion(p->spec.shape, p->spec.placement, options.at);
      p->begin = total;
      total += p->elements();
    }
    if (group.compute_copy) compute_total += RoundUp(total - begin);
    total = RoundUp(total);
  }
  master_ = context.Zeros({total}, options.master);
  if (options.gradients) gradient_ = context.Zeros({total}, options.master);
  if (options.compute != options.master) compute_ = context.Zeros({compute_total}, options.compute);

  int64_t compute_begin = 0;
  for (Group& group : groups_) {
    Weight& weight = *group.weight;
    for (Parameter* p : weight.parameters) {
      p->master = master_.Rows(p->begin, p->begin + p->elements()).Reshape(p->local.shape);
      if (options.gradients) p->gradient = gradient_.Rows(p->begin, p->begin + p->elements()).Reshape(p->local.shape);
    }
    const Shape shape = StackedShape(weight.parameters);
    const int64_t begin = weight.parameters[0]->begin, n = shape.elements();
    weight.master = master_.Rows(begin, begin + n).Reshape(shape);
    if (options.gradients) weight.gradient = gradient_.Rows(begin, begin + n).Reshape(shape);
    if (!group.compute_copy) continue;
    if (options.compute == options.master) {
      weight.compute = weight.master;
    } else {
      weight.compute = compute_.Rows(compute_begin, compute_begin + n).Reshape(shape);
      group.compute_begin = compute_begin;
      compute_begin += RoundUp(n);
    }
  }
}

void ParameterSet::Initialize(const Context& context, uint64_t seed) {
  for (const std::unique_ptr<Parameter>& p : parameters_) {
    const Philox philox(seed, StableHash(p->spec.name));
    const Init init = p->spec.init;
    const int64_t n = p->elements();
    VisitFloat(options_.master, [&](auto tag) {
      using T = decltype(tag);
      std::vector<T> values(n);
      cpu::ParallelFor(n, 1 << 14, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const double normal = init.stddev == 0 ? 0 : philox.Normal(GlobalIndex(p->local, p->spec.shape, i));
          values[i] = T(static_cast<AccumulateType<T>>(init.mean + init.stddev * normal));
        }
      });
      ops::CopyFromHost(context, values.data(), p->master);
    });
  }
  RefreshCompute(context);
}

void ParameterSet::RefreshCompute(const Context& context) {
  if (options_.compute == options_.master) return;
  for (const Group& group : groups_) {
    if (group.compute_copy) ops::Cast(context, group.weight->master, group.weight->compute);
  }
}

void ParameterSet::ZeroGradients(const Context& context) { ops::Zero(context, gradient_); }

std::vector<ParameterSet::Range> ParameterSet::Ranges() const {
  std::vector<Range> ranges;
  for (const Group& group : groups_) {
    const bool copied = compute_.defined() && group.compute_copy;
    for (const Parameter* p : group.weight->parameters) {
      const int64_t end = p->begin + p->elements();
      if (ranges.empty() || ranges.back().decay != p->spec.decay || ranges.back().compute.defined() != copied) {
        const int64_t at = group.compute_begin + p->begin - group.weight->parameters[0]->begin;
        ranges.push_back({p->begin, end, p->spec.decay, copied ? compute_.Rows(at, compute_.dim(0)) : Tensor()});
      }
      ranges.back().end = end;
    }
  }
  for (Range& range : ranges) {
    if (range.compute.defined()) range.compute = range.compute.Rows(0, range.end - range.begin);
  }
  return ranges;
}

Parameter* ParameterSet::Find(absl::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

int64_t ParameterSet::count() const {
  int64_t count = 0;
  for (const std::unique_ptr<Parameter>& p : parameters_) count += p->spec.shape.elements();
  return count;
}

}  // namespace photon
