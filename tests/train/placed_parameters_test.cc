// Parameters that are split, summed over other axes, or on one pipeline stage, on a mesh of threads: gradients, norm,
// update, checkpoints, with and without shared-out state, against one rank that has everything.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <mutex>
#include <set>

#include "core/ops/adamw.h"
#include "core/random.h"
#include "parallel/traffic.h"
#include "tests/train/training_run.h"
#include "train/gather_parameters.h"
#include "train/gradient_norm.h"
#include "train/gradient_reducer.h"

namespace photon::testing {
namespace {

constexpr MeshAxis kDp = MeshAxis::kDp, kPp = MeshAxis::kPp, kCp = MeshAxis::kCp, kTp = MeshAxis::kTp;

struct Sample {
  const char* name;
  Shape shape;
  Placement placement;
  bool copied, decay;
};

// Of two stages where there are two.
std::vector<Sample> Samples(int stages) {
  const auto on = [&](int stage) { return stages == 1 ? -1 : stage; };
  const AxisSet tokens = {kDp, kCp}, rows = {kDp, kCp, kTp}, all = {kDp, kPp, kCp, kTp};
  return {{"first.in", {8, 6}, {{{0, kTp}}, tokens, on(0)}, true, true},
          {"first.norm", {6}, {{}, rows, on(0)}, false, false},
          {"first.out", {6, 8}, {{{1, kTp}}, tokens, on(0)}, true, true},
          {"embedding", {11, 6}, {{}, all, -1}, false, false},
          {"second.replicated", {5, 7}, {{}, tokens, on(1)}, true, true},
          {"second.in", {12, 30}, {{{0, kTp}}, tokens, on(1)}, true, true},
          {"second.bias", {12}, {{{0, kTp}}, tokens, on(1)}, false, false},
          {"start", {6}, {{}, all, -1}, false, false}};
}

// A rank's share of the gradient of element `i`, a small integer: ranks differ along the summed axes alone. Sums of
// them are exact in any order.
double Share(const std::string& name, int64_t i, int summand) {
  return static_cast<double>(Philox(3, StableHash(name)).Block(1000 * summand + i)[0] % 9) - 4;
}

using Values = std::map<std::string, std::vector<double>>;  // by parameter, whole

// One rank: its parameters, and an update.
class PlacedRank {
 public:
  PlacedRank(Communicator& world, const ParallelConfig& parallel, Sharding sharding, DType compute,
             const std::string& run_dir)
      : mesh_(*Mesh::Create(world, parallel)), context_(Device{}, CpuBackend(), arena_) {
    const int stage = mesh_.at().index_of(kPp);
    for (const Sample& s : Samples(mesh_.at().size_of(kPp))) {
      if (s.placement.stage >= 0 && s.placement.stage != stage) continue;
      set_.Add({{s.name, s.shape, {0, 0.5}, s.decay, s.placement}}, s.copied);
    }
    set_.Allocate(context_, {.compute = compute, .at = mesh_.at(), .sharding = sharding, .bucket_bytes = 200});
    set_.Initialize(context_, 4);
    config_.set_run_dir(run_dir);
    optimizer_ = std::make_unique<Optimizer>(context_, set_, OptimizerConfig());
    norm_ = std::make_unique<GradientNorm>(context_, set_, mesh_);
    reducer_ = std::make_unique<GradientReducer>(context_, set_, mesh_);
    checkpoints_ = std::make_unique<RunCheckpoints>(context_, mesh_, config_, set_, *optimizer_, "");
  }

  // Gradients as a backward pass makes them, in `microbatches` parts, and an update.
  absl::Status Step(int microbatches) {
    const int64_t before = BytesSent();
    PHOTON_RETURN_IF_ERROR(Update(microbatches));
    EXPECT_EQ(BytesSent() - before, ExpectedBytes(microbatches));
    return absl::OkStatus();
  }

  absl::Status Update(int microbatches) {
    set_.ZeroGradients(context_);
    const GradientHooks hooks = reducer_->Begin();
    for (int micro = 0; micro < microbatches; ++micro) {
      const auto& all = set_.parameters();
      for (auto p = all.rbegin(); p != all.rend(); ++p) AddGradient(**p, hooks, micro, micro == microbatches - 1);
    }
    PHOTON_RETURN_IF_ERROR(reducer_->Finish());
    PHOTON_RETURN_IF_ERROR(norm_->Compute());
    std::vector<double> values = optimizer_->Controls(0.01, std::numeric_limits<double>::infinity());
    const Tensor control = context_.FromHost(values.data(), {ops::kAdamWControls}, DType::kF64);
    optimizer_->Step(norm_->square_sum(), context_.Zeros({1}, DType::kF64), control);
    optimizer_->CountUpdate();
    square_sum_ = norm_->square_sum().data<double>()[0];
    return GatherParameters(context_, set_, mesh_);
  }

  absl::Status Save() {
    RunState state;
    state.set_step(1);
    return checkpoints_->Save(state);
  }
  absl::Status Restore() { return checkpoints_->Restore().status(); }

  // Puts what this rank has of each parameter where it lies in the whole; what several have must be the same.
  void Collect(Values* master, Values* m, Values* v, Values* computed) {
    for (const auto& p : set_.parameters()) {
      const auto kept = Boxes(p->local.shape, p->shard.begin, p->shard.end);
      if (!kept.empty()) {
        Put(*p, kept, Doubles(p->shard.master), master);
        Put(*p, kept, Doubles(optimizer_->m(*p)), m);
        Put(*p, kept, Doubles(optimizer_->v(*p)), v);
      }
      const std::vector<Region> whole = Boxes(p->local.shape, 0, p->elements());
      Put(*p, whole, Doubles(p->compute.defined() ? p->compute : p->master), computed);
    }
  }
  double square_sum() const { return square_sum_; }

 private:
  int64_t BytesSent() const {
    int64_t bytes = 0;
    for (const Communicator* group : mesh_.groups()) bytes += group->bytes_sent();
    return bytes;
  }

  // Of a step: classes are all-reduced, buckets of shards reduce-scattered (where gradients are shared out, in every
  // microbatch, but for those that wait for the end) and gathered; the norm is one number; the order of what overlaps,
  // two a group.
  int64_t ExpectedBytes(int microbatches) const {
    const FlatLayout& layout = set_.layout();
    const MeshCoordinates& at = mesh_.at();
    const auto all_reduce = [&](AxisSet axes, int64_t elements, int64_t element_bytes) {
      return AllReduceSent(elements, element_bytes, at.group_size(axes), at.group_rank(axes));
    };
    int64_t bytes = 0;
    std::set<AxisSet> overlapped;
    for (size_t b = 0; b < layout.buckets.size(); ++b) {
      const FlatBucket& bucket = layout.buckets[b];
      const FlatClass& c = layout.classes[bucket.in_class];
      const int64_t own = bucket.own_end - bucket.own_begin;
      const bool at_end = c.summed.contains(kPp);
      if (mesh_.background(c.summed) != nullptr && !at_end) overlapped.insert(c.summed);
      if (set_.sharded()) {
        const int times = set_.options().sharding == Sharding::kGradients && !at_end ? microbatches : 1;
        bytes += times * ReduceScatterSent(4 * own, at.group_size(c.summed));
        bytes += AllGatherSent((c.copied ? 2 : 4) * own, at.group_size(c.summed));
      } else if (overlapped.contains(c.summed)) {
        bytes += all_reduce(c.summed, bucket.end - bucket.begin, 4);
      } else if (bucket.begin == c.begin) {
        bytes += all_reduce(c.summed, c.end - c.begin, 4);
      }
    }
    for (const AxisSet axes : overlapped) bytes += all_reduce(axes, 2, 8);
    const AxisSet norm = at.Proper(set_.sharded() ? AxisSet{kDp, kPp, kCp, kTp} : AxisSet{kPp, kTp});
    return bytes + (norm.empty() ? 0 : all_reduce(norm, 1, 8));
  }

  void AddGradient(Parameter& p, const GradientHooks& hooks, int micro, bool last) {
    Weight weight;
    weight.parameters = {&p};
    if (hooks.needed) hooks.needed(weight);
    // The number of this rank among those whose gradients are added, as if cp and dp cut the batch.
    const AxisSet summed = p.spec.placement.summed;
    const int ranks = mesh_.at().group_size(summed), rank = mesh_.at().group_rank(summed);
    int64_t i = 0;
    for (const int64_t global : GlobalIndices(p)) {
      double& sum = shares_[{p.spec.name, global}];
      if (micro == 0) {
        sum = 0;
        for (int s = rank; s < kSummands; s += ranks) sum += Share(p.spec.name, global, s);
      }
      // The microbatches' parts make up the sum.
      p.gradient.data<float>()[i++] += static_cast<float>(last ? sum - micro : 1);
    }
    if (hooks.complete && (last || hooks.each_microbatch)) hooks.complete(p);
  }

  static std::vector<int64_t> GlobalIndices(const Parameter& p) {
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < p.elements(); ++i) {
      int64_t rest = i, index = 0, stride = 1;
      for (int d = p.local.shape.rank() - 1; d >= 0; --d) {
        index += (p.local.offset[d] + rest % p.local.shape[d]) * stride;
        rest /= p.local.shape[d];
        stride *= p.spec.shape[d];
      }
      indices.push_back(index);
    }
    return indices;
  }

  static void Put(const Parameter& p, const std::vector<Region>& boxes, const std::vector<double>& values,
                  Values* all) {
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    std::vector<double>& whole = (*all)[p.spec.name];
    whole.resize(p.spec.shape.elements(), std::numeric_limits<double>::quiet_NaN());
    const std::vector<int64_t> indices = GlobalIndices(p);
    const int64_t first = boxes.empty() ? 0 : p.shard.begin;
    const bool is_whole = static_cast<int64_t>(values.size()) == p.elements();
    for (size_t i = 0; i < values.size(); ++i) {
      double& place = whole[indices[(is_whole ? 0 : first) + i]];
      EXPECT_TRUE(std::isnan(place) || place == values[i]) << p.spec.name << ": ranks disagree";
      place = values[i];
    }
  }

 public:
  static constexpr int kSummands = 8;  // every mesh of up to 8 ranks gets them all

 private:
  Mesh mesh_;
  Arena arena_;
  Context context_;
  ParameterSet set_;
  RunConfig config_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<GradientNorm> norm_;
  std::unique_ptr<GradientReducer> reducer_;
  std::unique_ptr<RunCheckpoints> checkpoints_;
  std::map<std::pair<std::string, int64_t>, double> shares_;
  double square_sum_ = 0;
};

struct MeshSize {
  int dp, pp, cp, tp;
  int ranks() const { return dp * pp * cp * tp; }
};

struct Found {
  Values master, m, v, computed;
  std::vector<double> square_sums;  // by rank
};

struct Arrangement {
  Sharding sharding = Sharding::kNone;
  bool overlap = false;
  DType compute = DType::kBF16;
  std::string run_dir = "unused";
};

Found OnMesh(const MeshSize& size, const Arrangement& arrangement,
             const std::function<absl::Status(PlacedRank&)>& body) {
  ParallelConfig parallel;
  parallel.set_dp(size.dp);
  parallel.set_pp(size.pp);
  parallel.set_cp(size.cp);
  parallel.set_tp(size.tp);
  parallel.set_overlap_reduction(arrangement.overlap);
  const std::vector<std::unique_ptr<Communicator>> comms = ThreadCommunicators(size.ranks());
  Found found;
  found.square_sums.resize(size.ranks());
  std::vector<std::thread> threads;
  for (int r = 0; r < size.ranks(); ++r) {
    threads.emplace_back([&, r] {
      omp_set_num_threads(1);
      PlacedRank rank(*comms[r], parallel, arrangement.sharding, arrangement.compute, arrangement.run_dir);
      const absl::Status status = body(rank);
      EXPECT_TRUE(status.ok()) << status;
      rank.Collect(&found.master, &found.m, &found.v, &found.computed);
      found.square_sums[r] = rank.square_sum();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return found;
}

void ExpectSame(const Found& got, const Found& want) {
  EXPECT_EQ(got.master, want.master);
  EXPECT_EQ(got.m, want.m);
  EXPECT_EQ(got.v, want.v);
  EXPECT_EQ(got.computed, want.computed);
}

constexpr MeshSize kMeshes[] = {{2, 1, 1, 1}, {1, 1, 2, 1}, {1, 1, 1, 2}, {1, 2, 1, 1}, {2, 1, 1, 2}, {1, 2, 2, 1},
                                {2, 2, 1, 1}, {1, 2, 1, 2}, {2, 1, 2, 2}, {2, 2, 1, 2}, {4, 1, 1, 2}, {1, 1, 1, 4}};

// Small integers add up exactly: any mesh has the gradients, the norm and the update of one rank, to the bit.
TEST(PlacedParameters, AStepIsThatOfOneRank) {
  const auto step = [](PlacedRank& rank) { return rank.Step(1); };
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    const Found alone = OnMesh({1, 1, 1, 1}, {.compute = compute}, step);
    double square_sum = 0;
    for (const Sample& s : Samples(1)) {
      for (int64_t i = 0; i < s.shape.elements(); ++i) {
        double g = 0;
        for (int summand = 0; summand < PlacedRank::kSummands; ++summand) g += Share(s.name, i, summand);
        square_sum += g * g;
      }
    }
    EXPECT_EQ(alone.square_sums[0], square_sum);
    for (const MeshSize& size : kMeshes) {
      for (const Sharding sharding : {Sharding::kNone, Sharding::kOptimizer, Sharding::kGradients}) {
        for (const bool overlap : {false, true}) {
          SCOPED_TRACE(::testing::Message()
                       << size.dp << " x " << size.pp << " x " << size.cp << " x " << size.tp << ", ZeRO-"
                       << static_cast<int>(sharding) << (overlap ? ", overlapped" : "") << ", " << Name(compute));
          const Found spread = OnMesh(size, {sharding, overlap, compute}, step);
          ExpectSame(spread, alone);
          for (const double sum : spread.square_sums) EXPECT_EQ(sum, square_sum);
        }
      }
    }
  }
}

TEST(PlacedParameters, SeveralMicrobatchesAndSteps) {
  const auto steps = [](PlacedRank& rank) -> absl::Status {
    for (int i = 0; i < 2; ++i) PHOTON_RETURN_IF_ERROR(rank.Step(3));
    return absl::OkStatus();
  };
  const Found alone = OnMesh({1, 1, 1, 1}, {}, steps);
  for (const Sharding sharding : {Sharding::kNone, Sharding::kOptimizer, Sharding::kGradients}) {
    for (const bool overlap : {false, true}) {
      SCOPED_TRACE(::testing::Message() << "ZeRO-" << static_cast<int>(sharding) << (overlap ? ", overlapped" : ""));
      ExpectSame(OnMesh({2, 2, 1, 2}, {sharding, overlap}, steps), alone);
    }
  }
}

// What one layout wrote, another reads: every element once, and the same bits.
TEST(PlacedParameters, CheckpointsMoveBetweenMeshes) {
  const TemporaryFolder folder;
  const auto train = [](PlacedRank& rank) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(rank.Step(1));
    return rank.Save();
  };
  const auto restore = [](PlacedRank& rank) { return rank.Restore(); };
  struct Layout {
    MeshSize size;
    Sharding sharding;
  };
  const std::vector<Layout> layouts = {{{1, 1, 1, 1}, Sharding::kNone},      {{2, 2, 1, 2}, Sharding::kNone},
                                       {{2, 2, 1, 2}, Sharding::kGradients}, {{1, 1, 3, 2}, Sharding::kOptimizer},
                                       {{1, 2, 2, 1}, Sharding::kOptimizer}, {{1, 1, 1, 4}, Sharding::kNone},
                                       {{3, 1, 1, 1}, Sharding::kGradients}};
  for (size_t from = 0; from < layouts.size(); ++from) {
    Arrangement arrangement{.sharding = layouts[from].sharding, .run_dir = folder / std::to_string(from)};
    const Found saved = OnMesh(layouts[from].size, arrangement, train);
    for (size_t to = 0; to < layouts.size(); ++to) {
      SCOPED_TRACE(::testing::Message() << "from " << from << " to " << to);
      arrangement.sharding = layouts[to].sharding;
      ExpectSame(OnMesh(layouts[to].size, arrangement, restore), saved);
    }
  }
}

}  // namespace
}  // namespace photon::testing
