// A step on a GPU (an emulated one, unless PHOTON_TEST_DEVICE=cuda says that there is one) follows the CPU's; recorded
// and replayed it is, to the bit, what it is when every operation is queued anew.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "core/cuda/opened_device.h"
#include "tests/support/tensors.h"
#include "tests/train/training_run.h"

namespace photon::testing {
namespace {

RunConfig DeviceStepRun(const std::string& dtype) {
  RunConfig config = TinyRun("unused");
  config.mutable_model()->set_width(16);
  config.mutable_model()->set_ffn(20);
  config.mutable_data()->set_sequence_length(32);
  TrainingConfig& training = *config.mutable_training();
  training.set_dtype(dtype);
  training.set_batch_sequences(3);
  training.set_micro_batch_sequences(2);  // two microbatches, of two forms
  training.set_slice_tokens(40);
  training.set_recompute(true);
  training.mutable_health()->set_spike_factor(0);
  return Resolved(config, 1);
}

// Random tokens; the last sequence is one document or two, and begins with padding's like: unscored tokens.
std::vector<TokenBatch> Microbatches(uint64_t step) {
  const Philox philox(7, step);
  std::vector<int32_t> ids(3 * 32);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(philox.Block(i)[0] % kVocab);
  TokenBatch batch = TokenBatch::FromIds(ids, 1, true);
  batch.sequences = 3;
  batch.length = 32;
  if (step % 2 == 1) {  // masks come and go
    for (int i = 16; i < 32; ++i) batch.document_begin[i] = 16;
    for (int i = 80; i < 96; ++i) batch.document_begin[i] = 16;
  }
  for (uint64_t i = 0; i < 3 + step; ++i) batch.real[95 - i] = batch.scored[95 - i] = 0;
  return {batch.Sequences(0, 2), batch.Sequences(2, 3)};
}

std::unique_ptr<OpenedDevice> OpenDevice() {
  absl::StatusOr<std::unique_ptr<OpenedDevice>> device = OnCpu() ? cuda::OpenCudaDevice(0) : OpenedDevice::Open("cuda");
  PHOTON_CHECK(device.ok()) << device.status().ToString();
  return *std::move(device);
}

// A trainer on a device; `recorded`: with its recording.
class DeviceRun {
 public:
  DeviceRun(const RunConfig& config, std::unique_ptr<OpenedDevice> device, bool recorded)
      : device_(std::move(device)),
        self_(SelfCommunicator()),
        mesh_(*Mesh::Create(*self_, config.parallel())),
        context_(device_->MakeContext(nullptr)),
        trainer_(config, mesh_, context_, device_->allocator().main(), recorded ? device_.get() : nullptr) {}

  StepMetrics Step(uint64_t batch) { return *trainer_.Step(Microbatches(batch)); }
  Trainer& trainer() { return trainer_; }
  const Context& context() const { return context_; }
  Tensor Weight() { return trainer_.model().parameters().Find("level.1.encoder.norm.weight")->master; }
  std::vector<double> Masters() { return ToDoubles(context_, trainer_.model().parameters().master()); }
  std::vector<double> Gradients() { return ToDoubles(context_, trainer_.model().parameters().gradient()); }
  int64_t grown() { return device_->allocator().main().grown(); }

 private:
  std::unique_ptr<OpenedDevice> device_;
  std::unique_ptr<Communicator> self_;
  Mesh mesh_;
  Context context_;
  Trainer trainer_;
};

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
    DeviceRun anew(DeviceStepRun(dtype), OpenDevice(), false), replayed(DeviceStepRun(dtype), OpenDevice(), true);
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
  DeviceRun cpu(config, *OpenedDevice::Open("cpu"), false), device(config, OpenDevice(), true);
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
