// A step on a GPU (an emulated one, unless PHOTON_TEST_DEVICE=cuda says that there is one) follows the CPU's; recorded
// and replayed it is, to the bit, what it is when every operation is queued anew.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "tests/train/device_run.h"

namespace photon::testing {
namespace {

double Distance(const std::vector<double>& got, const std::vector<double>& want) {
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return std::sqrt(error / size);
}

// The third step is the first to be replayed; the fourth is a bad one that is skipped, where there are so many.
TEST(DeviceStep, ReplayedIsQueuedAnew) {
  for (const auto& [dtype, steps] : {std::pair("f32", 3), std::pair("bf16", 5)}) {
    DeviceRun anew(DeviceStepRun(dtype), OpenGpu(), false), replayed(DeviceStepRun(dtype), OpenGpu(), true);
    for (int step = 0; step < steps; ++step) {
      SCOPED_TRACE(::testing::Message() << dtype << " step " << step);
      const double kept = ToDoubles(anew.context(), anew.Weight())[0];
      const auto plant = [&](double value) {
        for (DeviceRun* run : {&anew, &replayed}) SetElement(run->context(), run->Weight(), 0, value);
      };
      if (step == 3) plant(std::numeric_limits<double>::infinity());
      const StepMetrics want = anew.Step(step), got = replayed.Step(step);
      EXPECT_EQ(got.skipped.empty(), step != 3);
      EXPECT_EQ(got.skipped, want.skipped);
      if (step == 3) plant(kept);
      EXPECT_EQ(replayed.Masters(), anew.Masters());
      if (step == 3) continue;
      EXPECT_EQ(got.loss, want.loss);
      EXPECT_EQ(got.grad_norm, want.grad_norm);
      EXPECT_EQ(replayed.Gradients(), anew.Gradients());
    }
    EXPECT_EQ(replayed.trainer().optimizer().updates(), std::min(steps, 4));
  }
}

// f32 on both: the first gradient agrees to 1e-5 of its norm. Later steps differ by what Adam makes of it: with eps =
// 0.1 an update is Lipschitz, |d update / d g| <= 3 lr / eps (tests/train/trainer_test.cc), and lr <= 1e-2.
// After the warm-up and the recording there is no memory left to ask for.
TEST(DeviceStep, TenStepsFollowTheCpusInSteadyMemory) {
  RunConfig config = DeviceStepRun("f32");
  config.mutable_training()->mutable_optimizer()->set_eps(0.1);
  DeviceRun cpu(config, *OpenedDevice::Open("cpu"), false), device(config, OpenGpu(), true);
  double norm = 0, memory = 0;
  int64_t grown = 0;
  for (uint64_t step = 0; step < 10; ++step) {
    const StepMetrics want = cpu.Step(step), got = device.Step(step);
    norm = std::max(norm, want.grad_norm);
    if (step == 0) {
      EXPECT_LE(Distance(device.Gradients(), cpu.Gradients()), 1e-5);
      EXPECT_NEAR(got.loss, want.loss, 1e-5 * want.loss);
    }
    EXPECT_NEAR(got.loss, want.loss, 1e-4 * want.loss) << "step " << step;
    EXPECT_EQ(got.lr, want.lr);
    if (step == 1) {
      memory = got.memory_bytes;
      grown = device.grown();
    }
    if (step > 1) {
      EXPECT_EQ(got.memory_bytes, memory);
    }
  }
  EXPECT_EQ(device.grown(), grown);
  const double bound = 2 * 10 * 3 * 1e-2 / 0.1 * 1e-5 * norm;
  const std::vector<double> want = cpu.Masters(), got = device.Masters();
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
  EXPECT_LE(worst, bound);
}

}  // namespace
}  // namespace photon::testing
