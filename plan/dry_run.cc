#include "plan/dry_run.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "configs/model_config.h"
#include "core/dry/dry_device.h"
#include "model/pipeline_plan.h"
#include "parallel/dry/dry_world.h"
#include "parallel/mesh.h"
#include "train/trainer.h"

namespace photon {
namespace {

int64_t MicrobatchesOf(const RunConfig& config) {
  return config.training().batch_sequences() / config.parallel().dp() / config.training().micro_batch_sequences();
}

// One microbatch with a document border inside every sequence, so that masks have their place where the run has them.
TokenBatch Microbatch(const RunConfig& config) {
  const int64_t sequences = config.training().micro_batch_sequences(), length = config.data().sequence_length();
  const int64_t border = length / 2 / ChunkProduct(config.model()) * ChunkProduct(config.model());
  TokenBatch batch;
  batch.sequences = sequences;
  batch.length = length;
  batch.tokens.resize(sequences * length);
  batch.document_begin.resize(sequences * length);
  batch.real.assign(sequences * length, 1);
  batch.scored.assign(sequences * length, 1);
  for (int64_t s = 0; s < sequences; ++s) {
    for (const int64_t begin : {int64_t{0}, border}) batch.scored[s * length + begin] = 0;
    if (!config.data().document_mask()) continue;
    for (int64_t i = border; i < length; ++i) batch.document_begin[s * length + i] = static_cast<int32_t>(border);
  }
  return batch;
}

class Clock final : public dry::Listener {
 public:
  Clock(dry::Recorder& recorder, dry::OperationTime* time) : recorder_(recorder), time_(time) {}
  void Did(const dry::Operation& operation) override {
    flops_ += operation.flops;
    if (time_ != nullptr) recorder_.Compute(time_->Seconds(operation));
  }
  double flops() const { return flops_; }

 private:
  dry::Recorder& recorder_;
  dry::OperationTime* time_;
  double flops_ = 0;
};

// Keeps one of equal traces.
class TraceStore {
 public:
  std::shared_ptr<const dry::Trace> Keep(dry::Trace trace) {
    uint64_t hash = trace.calls.size();
    for (const dry::TracedCall& call : trace.calls) hash = hash * 1000003 + call.description * 31 + call.group;
    const absl::MutexLock lock(&mutex_);
    std::vector<std::shared_ptr<const dry::Trace>>& same = traces_[hash];
    for (const auto& known : same) {
      if (*known == trace) return known;
    }
    trace.calls.shrink_to_fit();
    return same.emplace_back(std::make_shared<const dry::Trace>(std::move(trace)));
  }

 private:
  absl::Mutex mutex_;
  absl::flat_hash_map<uint64_t, std::vector<std::shared_ptr<const dry::Trace>>> traces_ ABSL_GUARDED_BY(mutex_);
};

// The axes along which members of a group differ.
AxisSet AxesOf(const std::vector<int>& members, const std::array<int, kMeshAxes>& sizes) {
  AxisSet axes;
  const MeshCoordinates first = CoordinatesOf(members[0], sizes);
  for (const int member : members) {
    const MeshCoordinates at = CoordinatesOf(member, sizes);
    for (int axis = 0; axis < kMeshAxes; ++axis) {
      if (at.index[axis] != first.index[axis]) axes = axes | AxisSet{static_cast<MeshAxis>(axis)};
    }
  }
  return axes;
}

// What is left of a rank after it was built and has made a step.
struct Built {
  RankUse use;
  dry::Played setup, step, background;
};

class Builder {
 public:
  Builder(const RunConfig& config, const DryRunOptions& options, dry::DryWorld& world,
          const std::array<int, kMeshAxes>& sizes, std::shared_ptr<const PipelinePlan> pipeline)
      : config_(config),
        options_(options),
        world_(world),
        sizes_(sizes),
        pipeline_(std::move(pipeline)),
        microbatch_(Microbatch(config)) {}

  absl::StatusOr<Built> Build(int rank) {
    dry::Recorder recorder(world_, rank);
    Clock clock(recorder, options_.time);
    const std::unique_ptr<Communicator> comm = recorder.World();
    PHOTON_ASSIGN_OR_RETURN(const Mesh mesh, Mesh::Create(*comm, config_.parallel()));
    dry::DryDevice device(options_.memory, clock);
    const Context context = device.MakeContext(nullptr);
    const Arena& arena = device.allocator().main();
    Trainer trainer(config_, mesh, context, arena, &device, pipeline_);
    Built built;
    RankUse& use = built.use;
    use.rank = rank;
    use.at = mesh.at();
    CountState(trainer, &use);
    built.setup = {rank, 0, store_.Keep(recorder.Take()), recorder.groups()};
    const double before = clock.flops();
    PHOTON_RETURN_IF_ERROR(trainer.Step(std::vector<TokenBatch>(MicrobatchesOf(config_), microbatch_)).status());
    use.flops = clock.flops() - before;
    MemoryUse& memory = use.memory;
    memory.tables = static_cast<int64_t>(arena.in_use()) - memory.peak();
    memory.activations = static_cast<int64_t>(arena.peak() - arena.in_use());
    built.step = {rank, 0, store_.Keep(recorder.Take()), recorder.groups()};
    built.background = {rank, 1, store_.Keep(recorder.TakeBackground()), recorder.groups()};
    return built;
  }

 private:
  static void CountState(Trainer& trainer, RankUse* use) {
    const ParameterSet& parameters = trainer.model().parameters();
    const bool copied = parameters.options().compute != parameters.options().master;
    const auto bytes = [](const Tensor& t) { return t.defined() ? static_cast<int64_t>(t.bytes()) : 0; };
    for (const auto& p : parameters.parameters()) {
      use->parameters += p->elements();
      use->memory.masters += bytes(p->master.defined() ? p->master : p->shard.master);
      use->memory.copies += copied ? bytes(p->compute) : 0;
      use->memory.moments += 2 * bytes(trainer.optimizer().m(*p));
    }
    use->memory.gradients = bytes(parameters.gradient());
  }

  const RunConfig& config_;
  const DryRunOptions& options_;
  dry::DryWorld& world_;
  const std::array<int, kMeshAxes> sizes_;
  const std::shared_ptr<const PipelinePlan> pipeline_;  // every rank would find the same
  const TokenBatch microbatch_;
  TraceStore store_;
};

void AddCalls(const dry::Played& played, const dry::RankTime& time, const std::array<int, kMeshAxes>& sizes,
              RankUse* use) {
  std::vector<AxisSet> axes;
  for (const std::vector<int>* members : played.groups) axes.push_back(AxesOf(*members, sizes));
  for (const dry::TracedCall& call : played.trace->calls) use->axes[axes[call.group]].bytes_sent += call.sent;
  for (size_t group = 0; group < axes.size(); ++group) {
    const auto found = use->axes.find(axes[group]);
    if (found == use->axes.end()) continue;
    found->second.communicating += time.communicating[group];
    found->second.waiting += time.waiting[group];
  }
}

// Seconds in which gradients can be reduced beside the computation: two thirds of it are backward passes, of which only
// the last microbatch's completes sums; with sharded gradients every one does.
double Window(const RunConfig& config, double computing) {
  const bool each = config.parallel().shard() == ParallelConfig::GRADIENTS;
  return computing * 2 / 3 / (each ? 1.0 : static_cast<double>(MicrobatchesOf(config)));
}

absl::StatusOr<DryRun> RunWhole(const RunConfig& config, int ranks, const DryRunOptions& options) {
  PHOTON_ASSIGN_OR_RETURN(const auto sizes, MeshSizes(config.parallel(), ranks));
  PHOTON_ASSIGN_OR_RETURN(
      const std::unique_ptr<dry::DryWorld> world,
      dry::DryWorld::Create(ranks, [&](Communicator& all) { return Mesh::Create(all, config.parallel()).status(); }));
  std::shared_ptr<const PipelinePlan> pipeline;
  if (config.parallel().pp() > 1) {
    PHOTON_ASSIGN_OR_RETURN(PipelinePlan plan, PlanPipeline(config));
    pipeline = std::make_shared<const PipelinePlan>(std::move(plan));
  }
  Builder builder(config, options, *world, sizes, pipeline);
  if (options.only >= 0) {
    PHOTON_ASSIGN_OR_RETURN(Built built, builder.Build(options.only));
    return DryRun{.ranks = {std::move(built.use)}};
  }
  const int count = options.one_replica ? ranks / sizes[0] : ranks;  // dp is the slowest axis
  std::vector<absl::StatusOr<Built>> built(count, absl::UnknownError("not built"));
  std::atomic<int> next = 0;
  const auto work = [&] {
    for (int rank = next++; rank < count; rank = next++) built[rank] = builder.Build(rank);
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < std::min(options.threads, count); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();

  DryRun run;
  std::vector<dry::Played> setup, step;
  for (absl::StatusOr<Built>& rank : built) {
    PHOTON_RETURN_IF_ERROR(rank.status());
    setup.push_back(std::move(rank->setup));
    step.push_back(std::move(rank->step));
    run.ranks.push_back(std::move(rank->use));
  }
  for (absl::StatusOr<Built>& rank : built) {
    if (!rank->background.trace->calls.empty()) step.push_back(std::move(rank->background));
  }
  const dry::CallTime seconds =
      options.links ? options.links : [](const dry::TracedCall&, const std::vector<int>&) { return 0.0; };
  PHOTON_RETURN_IF_ERROR(dry::Replay(setup, world->descriptions(), seconds).status());
  PHOTON_ASSIGN_OR_RETURN(const std::vector<dry::RankTime> times, dry::Replay(step, world->descriptions(), seconds));
  for (size_t i = 0; i < times.size(); ++i) {
    RankUse& use = run.ranks[step[i].rank];
    AddCalls(step[i], times[i], sizes, &use);
    if (step[i].thread == 0) {
      use.step = times[i].finished;
      use.computing = times[i].computing;
    } else {
      use.step += std::max(times[i].finished - Window(config, use.computing), 0.0);
    }
    run.step_s = std::max(run.step_s, use.step);
    run.calls += static_cast<int64_t>(step[i].trace->calls.size());
  }
  return run;
}

RunConfig WithMicrobatches(RunConfig config, int64_t count) {
  config.mutable_training()->set_batch_sequences(
      static_cast<int32_t>(count * config.parallel().dp() * config.training().micro_batch_sequences()));
  return config;
}

// far + (far - near) * times, in every figure that grows with the number of microbatches.
class Extrapolation {
 public:
  // `memory_grows`: every microbatch is kept until the end of the step.
  Extrapolation(double times, bool memory_grows) : times_(times), memory_grows_(memory_grows) {}

  DryRun Of(const DryRun& near, DryRun far) const {
    Extend(near.step_s, &far.step_s);
    Extend(near.calls, &far.calls);
    for (size_t i = 0; i < far.ranks.size(); ++i) Extend(near.ranks[i], &far.ranks[i]);
    return far;
  }

 private:
  // Waiting may become less with more microbatches, but nothing less than nothing.
  void Extend(double near, double* far) const { *far = std::max(*far + times_ * (*far - near), 0.0); }
  void Extend(int64_t near, int64_t* far) const { *far += std::llround(times_ * static_cast<double>(*far - near)); }
  void Extend(const RankUse& near, RankUse* far) const {
    if (memory_grows_) {
      Extend(near.memory.tables, &far->memory.tables);
      Extend(near.memory.activations, &far->memory.activations);
    } else {
      far->memory.activations = std::max(far->memory.activations, near.memory.activations);
    }
    Extend(near.flops, &far->flops);
    Extend(near.computing, &far->computing);
    Extend(near.step, &far->step);
    for (auto& [axes, use] : far->axes) {
      const auto found = near.axes.find(axes);
      const AxisUse before = found == near.axes.end() ? AxisUse() : found->second;
      Extend(before.bytes_sent, &use.bytes_sent);
      Extend(before.communicating, &use.communicating);
      Extend(before.waiting, &use.waiting);
    }
  }

  const double times_;
  const bool memory_grows_;
};

}  // namespace

absl::StatusOr<DryRun> RunDry(const RunConfig& config, int ranks, const DryRunOptions& options) {
  const int64_t microbatches = MicrobatchesOf(config), far = std::max(8, 4 * config.parallel().pp()), near = far / 2;
  if (!options.extrapolate || microbatches <= far) return RunWhole(config, ranks, options);
  PHOTON_ASSIGN_OR_RETURN(const DryRun some, RunWhole(WithMicrobatches(config, near), ranks, options));
  PHOTON_ASSIGN_OR_RETURN(DryRun more, RunWhole(WithMicrobatches(config, far), ranks, options));
  const double times = static_cast<double>(microbatches - far) / static_cast<double>(far - near);
  // A pipeline bounds how many are under way, but for GPIPE. (Without one it is the batches themselves that add up.)
  const bool grows = config.parallel().pp() == 1 || config.parallel().pipeline().schedule() == PipelineConfig::GPIPE;
  return Extrapolation(times, grows).Of(some, std::move(more));
}

}  // namespace photon
