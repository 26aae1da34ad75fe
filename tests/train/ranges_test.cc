// A tool that listens sees a step by level and phase (on the emulated GPU); without one, nothing is told and steps are
// recorded.
#include "tests/simt/emulator/ranges.h"

#include <gmock/gmock.h>

#include "core/cuda/opened_device.h"
#include "tests/train/training_run.h"
#include "train/step_profile.h"

namespace photon::testing {
namespace {

using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::StartsWith;

// Three steps, as photon train takes them.
class RangesTest : public ::testing::Test {
 protected:
  void Train(int64_t profiled_steps) {
    RunConfig config = TinyRun("unused");
    config.mutable_model()->set_width(16);
    config.mutable_model()->set_ffn(20);
    config.mutable_data()->set_sequence_length(32);
    config.mutable_training()->set_batch_sequences(1);
    config.mutable_training()->set_recompute(true);
    config = Resolved(config, 1);
    const std::unique_ptr<OpenedDevice> device = *cuda::OpenCudaDevice(0);
    StepProfile profile(profiled_steps, device->marker());
    const std::unique_ptr<Communicator> self = SelfCommunicator();
    const Mesh mesh = *Mesh::Create(*self, config.parallel());
    const Context context = device->MakeContext(profile.profiler());
    Trainer trainer(config, mesh, context, device->allocator().main(), device.get());
    std::vector<int32_t> ids(32, 3);
    for (int step = 0; step < 3; ++step) {
      profile.BeginStep(device->allocator().main());
      losses_.push_back(trainer.Step({TokenBatch::FromIds(ids, 1, true)})->loss);
      profile.EndStep(device->allocator().main());
    }
    spans_ = profile.profiler() == nullptr ? 0 : profile.profiler()->spans().size();
    listened_ = profile.profiler() != nullptr && profile.profiler()->listens();
  }
  ~RangesTest() override { simt::ListenToRanges(false); }

  std::vector<double> losses_;
  size_t spans_ = 0;
  bool listened_ = false;
};

TEST_F(RangesTest, AreNestedLikeTheModel) {
  simt::ListenToRanges(true);
  Train(0);
  EXPECT_EQ(simt::OpenRanges(), 0) << "each is closed";
  EXPECT_EQ(spans_, 0) << "nothing is timed";
  const std::vector<std::string> heard = simt::RangesHeard();
  for (const char* phase : {"zero gradients", "gradient norm", "optimizer"}) EXPECT_THAT(heard, Contains(phase));
  EXPECT_EQ(std::count(heard.begin(), heard.end(), "optimizer"), 3) << "in every step: nothing is replayed";
  EXPECT_THAT(heard, Contains(StartsWith("level.1.encoder/")));
  EXPECT_THAT(heard, Contains(StartsWith("level.2.decoder/")));
  EXPECT_THAT(heard, Contains(StartsWith("backward level.1.encoder/")));
  EXPECT_THAT(heard, Contains(EndsWith("/attention")));
}

TEST_F(RangesTest, NobodyListens) {
  Train(0);
  EXPECT_FALSE(listened_);
  const std::vector<double> quiet = losses_;
  losses_.clear();
  simt::ListenToRanges(true);
  Train(1);
  EXPECT_TRUE(listened_);
  EXPECT_GT(spans_, 0) << "timed and shown at once";
  EXPECT_EQ(losses_, quiet) << "looking changes nothing";
}

}  // namespace
}  // namespace photon::testing
