// Training over MPI is, to the bit, training over threads; and a checkpoint written over MPI is read by any layout.
#include "tests/distributed/world.h"
#include "tests/train/training_run.h"

namespace photon::testing {
namespace {

class MpiTraining : public ::testing::Test {
 protected:
  // Rank 0's folder, for all.
  void SetUp() override {
    shared_ = *BroadcastString(World(), "folder of the test", folder_ / "", 0);
    tokens_ = WriteTokens(folder_ / "tokens");
    config_ = TinyRun(shared_ + "run");
  }
  // Rank 0's folder goes when its test ends: not before all are done with it.
  void TearDown() override { EXPECT_TRUE(World().Barrier("end of the test").ok()); }

  const TemporaryFolder folder_;
  std::string shared_;
  std::shared_ptr<const TokenFile> tokens_;
  RunConfig config_;
};

TEST_F(MpiTraining, IsThatOfThreads) {
  RankRun run(config_, World(), tokens_);
  ASSERT_TRUE(run.TrainTo(4).ok());
  ExpectSameBits(run.Result(), TrainSteps(World().size(), config_, tokens_, 4));
}

TEST_F(MpiTraining, OverlappedIsThatOfThreads) {
  const Outcome plain = TrainSteps(World().size(), config_, tokens_, 4);
  config_.mutable_parallel()->set_overlap_reduction(true);
  config_.mutable_parallel()->set_bucket_mb(0.02);
  RankRun run(config_, World(), tokens_);
  ASSERT_TRUE(run.TrainTo(4).ok());
  ExpectSameBits(run.Result(), plain);
}

// Shared-out state over MPI: the parameters of training without, and a checkpoint that the others read.
TEST_F(MpiTraining, ShardedIsThatOfThreads) {
  const Outcome plain = TrainSteps(World().size(), config_, tokens_, 3);
  for (const auto shard : {ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
    for (const bool overlap : {false, true}) {
      RunConfig config = config_;
      config.set_run_dir(shared_ + ParallelConfig::Shard_Name(shard) + (overlap ? "-overlapped" : ""));
      config.mutable_parallel()->set_shard(shard);
      config.mutable_parallel()->set_overlap_reduction(overlap);
      config.mutable_parallel()->set_bucket_mb(0.02);
      RankRun run(config, World(), tokens_);
      ASSERT_TRUE(run.TrainTo(3).ok());
      const Outcome sharded = run.Result();
      ExpectSameBits(sharded.master, plain.master, "parameters");
      ExpectSameBits(sharded.m, plain.m, "first moments");
      ExpectSameBits(sharded.v, plain.v, "second moments");
      const absl::Status saved = run.Save();
      ASSERT_TRUE(saved.ok()) << saved;
      config.mutable_parallel()->set_shard(ParallelConfig::NOTHING);
      const std::unique_ptr<Communicator> self = SelfCommunicator();
      config.mutable_parallel()->clear_dp();
      RankRun alone(config, *self, tokens_);
      ASSERT_EQ(*alone.Resume(), 3);
      const Outcome read = alone.Result();
      ExpectSameBits(read.master, plain.master, "parameters");
      ExpectSameBits(read.v, plain.v, "second moments");
    }
  }
}

TEST_F(MpiTraining, ResumesToTheBit) {
  const Outcome straight = TrainSteps(World().size(), config_, tokens_, 4);
  {
    RankRun run(config_, World(), tokens_);
    ASSERT_TRUE(run.TrainTo(2).ok());
    const absl::Status saved = run.Save();
    ASSERT_TRUE(saved.ok()) << saved;
  }
  RankRun again(config_, World(), tokens_);
  ASSERT_EQ(*again.Resume(), 2);
  ASSERT_TRUE(again.TrainTo(4).ok());
  ExpectSameBits(again.Result(), straight, 2);
  // And one rank alone reads what all of them wrote.
  const std::unique_ptr<Communicator> self = SelfCommunicator();
  RankRun alone(config_, *self, tokens_);
  ASSERT_EQ(*alone.Resume(), 2);
}

}  // namespace
}  // namespace photon::testing
