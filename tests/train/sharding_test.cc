// Training with shared-out optimizer state and gradients (ZeRO-1, ZeRO-2) is training without: to the bit, where sums
// are taken in the same order.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "tests/train/training_run.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;
using Shard = ParallelConfig::Shard;

class ShardingTest : public ::testing::Test {
 protected:
  RunConfig Run(Shard shard, const char* dtype = "bf16") const {
    RunConfig config = TinyRun(folder_ / "run");
    config.mutable_training()->set_dtype(dtype);
    config.mutable_parallel()->set_shard(shard);
    return config;
  }

  const TemporaryFolder folder_;
  const std::shared_ptr<const TokenFile> tokens_ = WriteTokens(folder_ / "tokens");
};

// Parameters, moments and losses are the same bits. The norm's squares are added in another order: n of them, each sum
// rounded once, are within n u of each other; what the f32 gradients are scaled by is the same f32.
void ExpectSameTraining(const Outcome& got, const Outcome& want) {
  ExpectSameBits(got.master, want.master, "parameters");
  ExpectSameBits(got.compute, want.compute, "compute copies");
  ExpectSameBits(got.m, want.m, "first moments");
  ExpectSameBits(got.v, want.v, "second moments");
  ASSERT_EQ(got.steps.size(), want.steps.size());
  const double rounding = static_cast<double>(want.master.size()) * 0x1p-53;
  for (size_t i = 0; i < want.steps.size(); ++i) {
    EXPECT_EQ(got.steps[i].loss, want.steps[i].loss) << "step " << i + 1;
    EXPECT_NEAR(got.steps[i].grad_norm, want.steps[i].grad_norm, rounding * want.steps[i].grad_norm);
    EXPECT_EQ(got.steps[i].skipped.empty(), want.steps[i].skipped.empty());
  }
}

TEST_F(ShardingTest, IsTheSameToTheBit) {
  struct Case {
    int ranks;
    const char* dtype;
    bool recompute;
  };
  for (const Case& c : {Case{2, "f32", true}, Case{3, "bf16", false}, Case{4, "bf16", true}}) {
    const auto train = [&](Shard shard, bool overlap, double bucket_mb) {
      RunConfig config = Run(shard, c.dtype);
      config.mutable_training()->set_recompute(c.recompute);
      config.mutable_training()->mutable_optimizer()->set_clip_norm(0.3);
      config.mutable_parallel()->set_overlap_reduction(overlap);
      config.mutable_parallel()->set_bucket_mb(bucket_mb);
      return TrainSteps(c.ranks, config, tokens_, 3);
    };
    const Outcome plain = train(ParallelConfig::NOTHING, false, 8);
    EXPECT_LT(plain.steps[2].loss, plain.steps[0].loss);
    EXPECT_GT(plain.steps[0].grad_norm, 0.3) << "clipping is part of it";
    for (const Shard shard : {ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
      for (const bool overlap : {false, true}) {
        for (const double mb : {1e-5, 0.004, 1000.0}) {  // a bucket a group, some, one a class
          SCOPED_TRACE(::testing::Message()
                       << c.ranks << " ranks, " << c.dtype << ", " << ParallelConfig::Shard_Name(shard)
                       << (overlap ? ", overlapped, " : ", ") << mb << " MB");
          ExpectSameTraining(train(shard, overlap, mb), plain);
        }
      }
    }
  }
}

// ZeRO-1 adds microbatches up before ranks, as without sharding. ZeRO-2 adds ranks up first: another order of the same
// sums of `ranks * microbatches` terms, each rounded, so within that many roundings of the terms' magnitudes.
TEST_F(ShardingTest, SeveralMicrobatches) {
  RunConfig config = Run(ParallelConfig::NOTHING, "f32");
  config.mutable_training()->set_micro_batch_sequences(2);       // three a rank
  config.mutable_training()->mutable_optimizer()->set_eps(0.1);  // an update is Lipschitz: tests/train/trainer_test.cc
  config.mutable_training()->mutable_optimizer()->set_clip_norm(0);
  const Outcome plain = TrainSteps(2, config, tokens_, 3);
  for (const bool overlap : {false, true}) {
    config.mutable_parallel()->set_overlap_reduction(overlap);
    config.mutable_parallel()->set_bucket_mb(0.004);
    config.mutable_parallel()->set_shard(ParallelConfig::OPTIMIZER);
    ExpectSameTraining(TrainSteps(2, config, tokens_, 3), plain);
    config.mutable_parallel()->set_shard(ParallelConfig::GRADIENTS);
    const Outcome sharded = TrainSteps(2, config, tokens_, 3);
    double norm = 0;
    for (const StepMetrics& step : plain.steps) norm = std::max(norm, step.grad_norm);
    // 6 terms a gradient, each no larger than ten times the norm; three steps, doubled for what they feed back.
    const double bound = 2 * 3 * 3 * 1e-2 / 0.1 * 6 * 0x1p-24 * 10 * norm;
    double worst = 0, moved = 0;
    const Outcome initial = TrainSteps(2, config, tokens_, 0);
    for (size_t i = 0; i < plain.master.size(); ++i) {
      worst = std::max(worst, std::abs(sharded.master[i] - plain.master[i]));
      moved = std::max(moved, std::abs(initial.master[i] - plain.master[i]));
    }
    EXPECT_LE(worst, bound);
    EXPECT_GT(moved, 100 * bound) << "a microbatch that is lost would be seen";
  }
}

// In f64, everything is: masters, moments and what is computed with; layouts agree to rounding.
TEST_F(ShardingTest, InDoublesLayoutsAgreeClosely) {
  RunConfig config = Run(ParallelConfig::NOTHING, "f64");
  config.mutable_training()->set_micro_batch_sequences(2);
  const Outcome alone = TrainSteps(1, config, tokens_, 5);
  for (const Shard shard : {ParallelConfig::NOTHING, ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
    config.mutable_parallel()->set_shard(shard);
    const Outcome shared = TrainSteps(3, config, tokens_, 5);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_NEAR(shared.steps[i].loss, alone.steps[i].loss, 1e-12 * alone.steps[i].loss) << "step " << i + 1;
      EXPECT_NEAR(shared.steps[i].grad_norm, alone.steps[i].grad_norm, 1e-11 * alone.steps[i].grad_norm);
    }
  }
}

// A NaN in one rank's shard stops all of them, and none has changed anything.
TEST_F(ShardingTest, ABadStepChangesNothingOnAnyRank) {
  for (const Shard shard : {ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
    RunConfig config = Run(shard, "f32");
    config.mutable_training()->mutable_health()->set_max_skipped_in_row(2);
    const auto statuses = OnTrainingRanks(3, config, tokens_, [](RankRun& run, int) -> absl::Status {
      PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
      Parameter* norm = run.trainer().model().parameters().Find("level.1.encoder.norm.weight");
      // On the rank that keeps it: elsewhere the next gathering would mend it.
      if (norm->shard.begin < norm->shard.end) {
        norm->shard.master.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
      }
      const Outcome before = run.Result();
      const absl::Status stopped = run.TrainTo(10);
      const Outcome after = run.Result();
      ExpectSameBits(after.m, before.m, "moments");
      ExpectSameBits(after.v, before.v, "moments");
      EXPECT_EQ(after.state.updates(), 2);
      EXPECT_EQ(after.state.step(), 5);
      return stopped;
    });
    for (const absl::Status& status : statuses) EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
  }
}

// A spike of the norm: the decision is one of the whole gradient, not of a rank's shard.
TEST_F(ShardingTest, ASpikeIsSkippedByAll) {
  RunConfig config = Run(ParallelConfig::NOTHING);
  config.mutable_training()->mutable_health()->set_spike_factor(1.0001);
  config.mutable_training()->mutable_health()->set_max_skipped_in_row(100);
  const Outcome plain = TrainSteps(2, config, tokens_, 8);
  int skipped = 0;
  for (const StepMetrics& step : plain.steps) skipped += !step.skipped.empty();
  for (const Shard shard : {ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
    config.mutable_parallel()->set_shard(shard);
    ExpectSameTraining(TrainSteps(2, config, tokens_, 8), plain);
  }
  EXPECT_GT(skipped, 0);
}

TEST_F(ShardingTest, OneRankSharesWithNobody) {
  const Outcome plain = TrainSteps(1, Run(ParallelConfig::NOTHING), tokens_, 3);
  for (const Shard shard : {ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
    ExpectSameBits(TrainSteps(1, Run(shard), tokens_, 3), plain);
  }
}

// Whatever layout wrote it, any layout goes on from it with the same bits.
TEST_F(ShardingTest, CheckpointsMoveBetweenLayouts) {
  struct Layout {
    int ranks;
    Shard shard;
    double bucket_mb;
  };
  const std::vector<Layout> layouts = {{1, ParallelConfig::NOTHING, 8},      {2, ParallelConfig::NOTHING, 8},
                                       {2, ParallelConfig::OPTIMIZER, 8},    {3, ParallelConfig::GRADIENTS, 0.002},
                                       {4, ParallelConfig::OPTIMIZER, 0.01}, {2, ParallelConfig::GRADIENTS, 8}};
  const auto config_of = [&](const Layout& layout, const std::string& run_dir) {
    RunConfig config = Run(layout.shard);
    config.set_run_dir(run_dir);
    config.mutable_parallel()->set_bucket_mb(layout.bucket_mb);
    return config;
  };
  int number = 0;
  for (const Layout& from : layouts) {
    const std::string run_dir = folder_ / "from" + std::to_string(number++);
    const Outcome saved = Train(from.ranks, config_of(from, run_dir), tokens_, [](RankRun& run, int) -> absl::Status {
      PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
      return run.Save();
    });
    for (const Layout& to : layouts) {
      SCOPED_TRACE(::testing::Message() << from.ranks << " ranks, " << ParallelConfig::Shard_Name(from.shard) << ", to "
                                        << to.ranks << ", " << ParallelConfig::Shard_Name(to.shard));
      const Outcome resumed = Train(to.ranks, config_of(to, run_dir), tokens_, [](RankRun& run, int) -> absl::Status {
        PHOTON_ASSIGN_OR_RETURN(const int64_t step, run.Resume());
        EXPECT_EQ(step, 2);
        return absl::OkStatus();
      });
      ExpectSameBits(resumed.master, saved.master, "parameters");
      ExpectSameBits(resumed.compute, saved.compute, "compute copies");
      ExpectSameBits(resumed.m, saved.m, "first moments");
      ExpectSameBits(resumed.v, saved.v, "second moments");
      EXPECT_EQ(resumed.state.updates(), 2);
    }
  }
}

// Beside chunks and split tensors: each of eight ranks has, of its parts, what it has without shards; and what they
// save goes through a single rank and back.
TEST_F(ShardingTest, OnAMeshOfThreeAxes) {
  const auto config_of = [&](Shard shard, const std::string& run_dir) {
    RunConfig config = Run(shard);
    config.set_run_dir(folder_ / run_dir);
    ParallelConfig& parallel = *config.mutable_parallel();
    parallel.set_cp(2);
    parallel.set_tp(2);
    parallel.set_vocabulary(ParallelConfig::REPLICATED);
    parallel.set_bucket_mb(0.004);
    return config;
  };
  const auto on_ranks = [&](int ranks, const RunConfig& config, const std::function<absl::Status(RankRun&)>& body) {
    std::vector<Outcome> outcomes(ranks);
    for (const absl::Status& status : OnTrainingRanks(ranks, config, tokens_, [&](RankRun&run, int rank) {
           const absl::Status done = body(run);
           outcomes[rank] = run.Result();
           return done;
         })) {
      EXPECT_TRUE(status.ok()) << status;
    }
    return outcomes;
  };
  const auto expect_same = [](const std::vector<Outcome>& got, const std::vector<Outcome>& want) {
    for (size_t r = 0; r < want.size(); ++r) {
      SCOPED_TRACE(::testing::Message() << "rank " << r);
      ExpectSameBits(got[r].master, want[r].master, "parameters");
      ExpectSameBits(got[r].compute, want[r].compute, "compute copies");
      ExpectSameBits(got[r].m, want[r].m, "first moments");
      ExpectSameBits(got[r].v, want[r].v, "second moments");
    }
  };
  const auto train = [](RankRun& run) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
    return run.Save();
  };
  const auto resume = [](RankRun& run) { return run.Resume().status(); };
  const std::vector<Outcome> plain = on_ranks(8, config_of(ParallelConfig::NOTHING, "plain"), train);
  for (const Outcome& rank : plain) EXPECT_EQ(rank.steps[1].grad_norm, plain[0].steps[1].grad_norm);
  for (const Shard shard : {ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
    const std::string run_dir = ParallelConfig::Shard_Name(shard);
    expect_same(on_ranks(8, config_of(shard, run_dir), train), plain);
    RunConfig alone = Run(ParallelConfig::NOTHING);
    alone.set_run_dir(folder_ / run_dir);
    on_ranks(1, alone, [&](RankRun& run) -> absl::Status {
      PHOTON_RETURN_IF_ERROR(resume(run));
      return run.Save();
    });
    expect_same(on_ranks(8, config_of(shard, run_dir), resume), plain);
    expect_same(on_ranks(8, config_of(ParallelConfig::NOTHING, run_dir), resume), plain);
  }
}

TEST_F(ShardingTest, ResumesToTheBit) {
  for (const Shard shard : {ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
    RunConfig config = Run(shard);
    config.set_run_dir(folder_ / ParallelConfig::Shard_Name(shard));
    const Outcome straight = TrainSteps(3, config, tokens_, 4);
    Train(3, config, tokens_, [](RankRun& run, int) -> absl::Status {
      PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
      absl::Status saved;
      PHOTON_RETURN_IF_ERROR(run.SaveBeside(3, &saved));  // from a copy, while it trains on
      return saved;
    });
    const Outcome resumed = Train(3, config, tokens_, [](RankRun& run, int) -> absl::Status {
      PHOTON_RETURN_IF_ERROR(run.Resume().status());
      return run.TrainTo(4);
    });
    ExpectSameBits(resumed, straight, 2);
  }
}

// A run in f64 goes on from an f32 checkpoint, and the other way round.
TEST_F(ShardingTest, CheckpointsOfOneTypeFillTheOther) {
  const auto save = [](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(run.TrainTo(1));
    return run.Save();
  };
  const auto resume = [](RankRun& run, int) { return run.Resume().status(); };
  const Outcome single = Train(2, Run(ParallelConfig::OPTIMIZER, "f32"), tokens_, save);
  const Outcome widened = Train(1, Run(ParallelConfig::NOTHING, "f64"), tokens_, resume);
  ExpectSameBits(widened.master, single.master, "parameters");
  ExpectSameBits(widened.v, single.v, "second moments");
  const Outcome twice = Train(2, Run(ParallelConfig::GRADIENTS, "f64"), tokens_, [&](RankRun& run, int rank) {
    PHOTON_RETURN_IF_ERROR(resume(run, rank));
    PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
    return run.Save();
  });
  const Outcome narrowed = Train(1, Run(ParallelConfig::NOTHING, "bf16"), tokens_, resume);
  for (size_t i = 0; i < twice.master.size(); ++i) {
    ASSERT_EQ(narrowed.master[i], static_cast<double>(static_cast<float>(twice.master[i])));
  }
}

// What a trainer takes and what a step adds, on rank 1 of 3.
struct Memory {
  int64_t fixed, peak;
  int64_t expected;  // of what grows with the parameters
};

int64_t Allocated(int64_t elements, int64_t element_bytes) { return (elements * element_bytes + 255) / 256 * 256; }

// From the layout: masters, gradients, copies, moments, and the norm's parts.
int64_t ExpectedBytes(const ParameterSet& set) {
  const FlatLayout& l = set.layout();
  int64_t copies = l.elements - l.copied_begin;
  if (!set.sharded()) {
    for (const FlatBucket& bucket : l.buckets) {  // one a group
      bool copied = false;
      for (const auto& p : set.parameters()) copied |= p->begin == bucket.begin && p->compute.defined();
      copies += copied ? bucket.end - bucket.begin : 0;
    }
  }
  const int64_t copied_shard = l.shard_elements - l.copied_shard_begin;
  const bool two = set.options().sharding == Sharding::kGradients;
  return Allocated(l.copied_begin, 4) + (copied_shard > 0 ? Allocated(copied_shard, 4) : 0) +
         Allocated(two ? l.shard_elements : l.elements, 4) + Allocated(copies, 2) + 2 * Allocated(l.shard_elements, 4) +
         Allocated(set.sharded() ? static_cast<int64_t>(l.buckets.size()) : 1, 8);
}

TEST_F(ShardingTest, MemoryFallsByWhatIsShared) {
  const auto measure = [&](Shard shard) {
    RunConfig config = Run(shard);
    config.mutable_parallel()->set_bucket_mb(1e-5);
    Memory found = {};
    for (const absl::Status& status : OnTrainingRanks(3, config, tokens_, [&](RankRun&run, int rank) {
           const Memory mine = {.fixed = static_cast<int64_t>(run.arena().in_use()),
                                .peak = 0,
                                .expected = ExpectedBytes(run.trainer().model().parameters())};
           if (rank == 1) found = mine;
           const absl::Status done = run.TrainTo(2);
           if (rank == 1) found.peak = static_cast<int64_t>(run.Result().steps.back().memory_bytes);
           if (rank != 1) run.Result();
           return done;
         })) {
      EXPECT_TRUE(status.ok()) << status;
    }
    return found;
  };
  const Memory plain = measure(ParallelConfig::NOTHING);
  for (const Shard shard : {ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
    const Memory shared = measure(shard);
    EXPECT_EQ(plain.fixed - shared.fixed, plain.expected - shared.expected);
    EXPECT_LT(shared.expected, shard == ParallelConfig::OPTIMIZER ? 0.65 * plain.expected : 0.5 * plain.expected);
    if (shard == ParallelConfig::OPTIMIZER) {
      EXPECT_EQ(shared.peak - shared.fixed, plain.peak - plain.fixed) << "a step needs what it needs";
    }
    EXPECT_LT(shared.peak, plain.peak);
  }
}

}  // namespace
}  // namespace photon::testing
