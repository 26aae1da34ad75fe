#include "core/parameter.h"

#include <algorithm>

#include "core/cpu/parallel_for.h"
#include "core/ops/elementwise.h"
#include "core/ops/memory.h"
#include "core/random.h"

namespace photon {
namespace {

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

int64_t Elements(const Weight& weight) {
  int64_t elements = 0;
  for (const Parameter* p : weight.parameters) elements += p->elements();
  return elements;
}

// `flat`, undefined or not, from element `begin` on, as that shape.
Tensor View(const Tensor& flat, int64_t begin, const Shape& shape) {
  return flat.defined() ? flat.Rows(begin, begin + shape.elements()).Reshape(shape) : Tensor();
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

void ParameterSet::LayGroups() {
  std::vector<FlatGroup> flat;
  for (const Group& group : groups_) {
    const auto on_mesh = [&](const Parameter* p) {
      const Placement& placement = p->spec.placement;
      return FlatGroup{.split = options_.at.Proper(placement.split_axes()),
                       .summed = options_.at.Proper(placement.summed),
                       .staged = placement.stage >= 0 && options_.at.size_of(MeshAxis::kPp) > 1};
    };
    const std::vector<Parameter*>& parameters = group.weight->parameters;
    flat.push_back(on_mesh(parameters[0]));
    for (Parameter* p : parameters) {
      const FlatGroup other = on_mesh(p);
      PHOTON_CHECK(other.split == flat.back().split && other.summed == flat.back().summed &&
                   other.staged == flat.back().staged)
          << p->spec.name << " does not lie as " << parameters[0]->spec.name << ", with which it makes a matrix";
      p->local = LocalRegion(p->spec.shape, p->spec.placement, options_.at);
    }
    flat.back().elements = Elements(*group.weight);
    flat.back().copied = HasCopies(group);
  }
  const int64_t bucket_elements = options_.bucket_bytes / static_cast<int64_t>(ByteSize(options_.master));
  layout_ = LayOut(flat, options_.at, sharded(), bucket_elements);
}

void ParameterSet::AllocateBuffers(const Context& context) {
  const FlatLayout& l = layout_;
  master_ = context.Zeros({l.copied_begin}, options_.master);
  if (l.copied_begin < l.elements) {
    master_shard_ = context.Zeros({l.shard_elements - l.copied_shard_begin}, options_.master);
  }
  if (options_.gradients) {
    const bool shard = options_.sharding == Sharding::kGradients;
    gradient_ = context.Zeros({shard ? l.shard_elements : l.elements}, options_.master);
  }
  if (options_.compute == options_.master) return;
  int64_t copies = l.elements - l.copied_begin;
  if (!sharded()) {
    for (const Group& group : groups_) copies += HasCopies(group) ? RoundUpToAlignment(Elements(*group.weight)) : 0;
  }
  compute_ = context.Zeros({copies}, options_.compute);
}

void ParameterSet::Allocate(const Context& context, const Options& options) {
  options_ = options;
  if (options.at.group_size({MeshAxis::kDp, MeshAxis::kCp}) == 1) options_.sharding = Sharding::kNone;
  LayGroups();
  AllocateBuffers(context);
  open_.resize(layout_.buckets.size());
  int64_t packed = 0;  // compute copies, where nothing is sharded
  for (size_t b = 0; b < layout_.buckets.size(); ++b) {
    for (const int g : layout_.buckets[b].groups) {
      Group& group = groups_[g];
      int64_t begin = layout_.group_begin[g];
      group.compute_begin = sharded() ? begin - layout_.copied_begin : packed;
      if (HasCopies(group)) packed += RoundUpToAlignment(Elements(*group.weight));
      for (Parameter* p : group.weight->parameters) {
        p->bucket = static_cast<int>(b);
        p->shard = Parameter::Shard();
        p->begin = begin;
        begin += p->elements();
      }
      MakeViews(group);
    }
  }
}

void ParameterSet::MakeViews(const Group& group) {
  Weight& weight = *group.weight;
  const FlatBucket& bucket = layout_.buckets[weight.parameters[0]->bucket];
  const int64_t begin = weight.parameters[0]->begin;
  const bool whole = begin < layout_.copied_begin;
  const Shape shape = StackedShape(weight.parameters);
  weight.master_type = options_.master;
  weight.trained = options_.gradients;
  weight.master = whole ? View(master_, begin, shape) : Tensor();
  if (HasCopies(group)) {
    weight.compute = View(compute_, group.compute_begin, shape);
  } else if (group.compute_copy) {
    weight.compute = weight.master;
  }
  ViewGradients(weight, options_.sharding == Sharding::kGradients ? Tensor() : gradient_, 0);
  for (Parameter* p : weight.parameters) {
    p->master = whole ? View(master_, p->begin, p->local.shape) : Tensor();
    if (weight.compute.defined()) {
      p->compute = View(weight.compute.Reshape({shape.elements()}), p->begin - begin, p->local.shape);
    }
    const int64_t first = std::max(p->begin, bucket.own_begin);
    const int64_t last = std::min(p->begin + p->elements(), bucket.own_end);
    if (first >= last) continue;
    p->shard.begin = first - p->begin;
    p->shard.end = last - p->begin;
    p->shard.at = bucket.shard_begin + first - bucket.own_begin;
    p->shard.master = MasterRows(bucket, first, last);
  }
}

void ParameterSet::ViewGradients(Weight& weight, const Tensor& memory, int64_t first) {
  weight.gradient = View(memory, weight.parameters[0]->begin - first, StackedShape(weight.parameters));
  for (Parameter* p : weight.parameters) p->gradient = View(memory, p->begin - first, p->local.shape);
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
      Set(context, *p, Tensor::Wrap(values.data(), p->local.shape, options_.master));
    });
  }
}

void ParameterSet::Set(const Context& context, const Parameter& p, const Tensor& values) {
  PHOTON_CHECK(values.shape() == p.local.shape && values.dtype() == options_.master && values.contiguous())
      << p.spec.name << " from " << values.ToString();
  Tensor whole = p.master;
  if (whole.defined()) {
    ops::CopyFromHost(context, values.raw(), whole);
  } else {
    const Tensor own = values.Reshape({p.elements()}).Rows(p.shard.begin, p.shard.end);
    if (p.shard.master.defined()) ops::CopyFromHost(context, own.raw(), p.shard.master);
    whole = context.FromHost(values.raw(), values.shape(), values.dtype());
  }
  if (p.compute.defined() && p.compute.raw() != whole.raw()) ops::Cast(context, whole, p.compute);
}

void ParameterSet::RefreshCompute(const Context& context) {
  if (options_.compute == options_.master) return;
  for (const Group& group : groups_) {
    if (HasCopies(group) && group.weight->master.defined()) {
      ops::Cast(context, group.weight->master, group.weight->compute);
    }
  }
}

void ParameterSet::ZeroGradients(const Context& context) { ops::Zero(context, gradient_); }

Tensor ParameterSet::MasterRows(const FlatBucket& bucket, int64_t begin, int64_t end) const {
  if (begin < layout_.copied_begin) return master_.Rows(begin, end);
  const int64_t at = bucket.shard_begin + begin - bucket.own_begin - layout_.copied_shard_begin;
  return master_shard_.Rows(at, at + end - begin);
}

Tensor ParameterSet::GradientRows(const FlatBucket& bucket, int64_t begin, int64_t end) const {
  if (!gradient_.defined()) return Tensor();
  const int64_t at = options_.sharding == Sharding::kGradients ? bucket.shard_begin + begin - bucket.own_begin : begin;
  return gradient_.Rows(at, at + end - begin);
}

Tensor ParameterSet::BucketGradient(int bucket) const {
  PHOTON_CHECK(options_.sharding != Sharding::kGradients) << "gradients of a bucket are there only while they are open";
  return gradient_.Rows(layout_.buckets[bucket].begin, layout_.buckets[bucket].end);
}

Tensor ParameterSet::OwnGradient(int bucket) const {
  const FlatBucket& b = layout_.buckets[bucket];
  return GradientRows(b, b.own_begin, b.own_end);
}

Tensor ParameterSet::Computed(int bucket) const {
  const FlatBucket& b = layout_.buckets[bucket];
  if (!layout_.classes[b.in_class].copied) return master_.Rows(b.begin, b.end);
  return compute_.Rows(b.begin - layout_.copied_begin, b.end - layout_.copied_begin);
}

Tensor ParameterSet::OwnComputed(int bucket) const {
  const FlatBucket& b = layout_.buckets[bucket];
  return Computed(bucket).Rows(b.own_begin - b.begin, b.own_end - b.begin);
}

void ParameterSet::OpenGradients(const Context& context, int bucket) {
  if (open_[bucket].defined()) return;
  const FlatBucket& b = layout_.buckets[bucket];
  open_[bucket] = context.Zeros({b.end - b.begin}, options_.master);
  for (const int g : b.groups) ViewGradients(*groups_[g].weight, open_[bucket], b.begin);
}

Tensor ParameterSet::CloseGradients(int bucket) {
  for (const int g : layout_.buckets[bucket].groups) ViewGradients(*groups_[g].weight, Tensor(), 0);
  return std::move(open_[bucket]);
}

std::vector<ParameterSet::Range> ParameterSet::Ranges() const {
  struct Run {
    int bucket;
    int64_t begin, end;
    bool decay;
    Tensor compute;  // from its first element on, to the end of the buffer
  };
  std::vector<Run> runs;
  for (size_t b = 0; b < layout_.buckets.size(); ++b) {
    for (const int g : layout_.buckets[b].groups) {
      const bool copied = HasCopies(groups_[g]);
      for (const Parameter* p : groups_[g].weight->parameters) {
        const bool continues = !runs.empty() && runs.back().decay == p->spec.decay &&
                               runs.back().compute.defined() == copied &&
                               (!sharded() || runs.back().bucket == static_cast<int>(b));
        if (!continues) {
          Tensor compute;
          if (copied) {
            const int64_t at = groups_[g].compute_begin + p->begin - layout_.group_begin[g];
            compute = compute_.Rows(at, compute_.dim(0));
          }
          runs.push_back({static_cast<int>(b), p->begin, 0, p->spec.decay, compute});
        }
        runs.back().end = p->begin + p->elements();
      }
    }
  }
  std::vector<Range> ranges;
  for (const Run& run : runs) {
    const FlatBucket& bucket = layout_.buckets[run.bucket];
    const int64_t begin = sharded() ? std::max(run.begin, bucket.own_begin) : run.begin;
    const int64_t end = sharded() ? std::min(run.end, bucket.own_end) : run.end;
    if (begin >= end) continue;
    const int64_t at = bucket.shard_begin + begin - bucket.own_begin;
    ranges.push_back({at, at + end - begin, run.decay, MasterRows(bucket, begin, end), GradientRows(bucket, begin, end),
                      run.compute.defined() ? run.compute.Rows(begin - run.begin, end - run.begin) : Tensor()});
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
