// A run on a GPU (an emulated one, unless PHOTON_TEST_DEVICE=cuda says that there is one) that is saved and resumed: to
// the bit on a GPU, and from one device to another.
#include <gmock/gmock.h>

#include "tests/data/temporary.h"
#include "tests/train/device_run.h"

namespace photon::testing {
namespace {

constexpr int kBefore = 2, kAfter = 4;  // steps; the third is the first to be replayed

// Of a saved run at kBefore.
struct Saved {
  std::vector<double> masters, moments;
};
Saved TrainAndSave(const RunConfig& config, std::unique_ptr<OpenedDevice> device) {
  DeviceRun run(config, std::move(device), true);
  for (int step = 0; step < kBefore; ++step) run.Step(step);
  const absl::Status saved = run.Save();
  EXPECT_TRUE(saved.ok()) << saved;
  return {run.Masters(), run.Moments()};
}
void Resume(DeviceRun& run, const Saved& saved) {
  const absl::StatusOr<int64_t> step = run.Resume();
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_EQ(*step, kBefore);
  EXPECT_EQ(run.Masters(), saved.masters);
  EXPECT_EQ(run.Moments(), saved.moments);
}

TEST(DeviceResume, IsToTheBit) {
  for (const char* dtype : {"f32", "bf16"}) {
    SCOPED_TRACE(dtype);
    const TemporaryFolder folder;
    const RunConfig config = DeviceStepRun(dtype, folder / "run");
    DeviceRun straight(config, OpenGpu(), true);
    for (int step = 0; step < kBefore; ++step) straight.Step(step);
    const Saved saved = TrainAndSave(config, OpenGpu());
    DeviceRun resumed(config, OpenGpu(), true);
    Resume(resumed, saved);
    for (int step = kBefore; step < kAfter; ++step) {
      const StepMetrics want = straight.Step(step), got = resumed.Step(step);
      EXPECT_EQ(got.step, want.step);
      EXPECT_EQ(got.loss, want.loss);
      EXPECT_EQ(got.grad_norm, want.grad_norm);
    }
    EXPECT_EQ(resumed.Masters(), straight.Masters());
    EXPECT_EQ(resumed.Moments(), straight.Moments());
  }
}

TEST(DeviceResume, ACheckpointMovesBetweenDevices) {
  const auto cpu = [] { return *OpenedDevice::Open("cpu"); };
  for (const bool from_gpu : {true, false}) {
    SCOPED_TRACE(from_gpu ? "GPU to CPU" : "CPU to GPU");
    const TemporaryFolder folder;
    const RunConfig config = DeviceStepRun("f32", folder / "run");
    const Saved saved = TrainAndSave(config, from_gpu ? OpenGpu() : cpu());
    DeviceRun there(config, OpenGpu(), true), here(config, cpu(), false);
    Resume(there, saved);
    Resume(here, saved);
    // From the same bits on, as DeviceStep.TenStepsFollowTheCpus.. has it.
    const StepMetrics got = there.Step(kBefore), want = here.Step(kBefore);
    EXPECT_EQ(got.step, want.step);
    EXPECT_NEAR(got.loss, want.loss, 1e-5 * want.loss);
  }
}

}  // namespace
}  // namespace photon::testing
