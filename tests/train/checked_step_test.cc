// training.check: what is checked trains to the same bits; a NaN is found by the first operation that meets it.
#include <gmock/gmock.h>

#include <limits>

#include "core/checked_backend.h"
#include "core/checked_device.h"
#include "tests/support/gpu.h"
#include "tests/support/tensors.h"
#include "tests/train/training_run.h"

namespace photon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::unique_ptr<OpenedDevice> Open(bool gpu) { return gpu ? OpenGpu() : *OpenedDevice::Open("cpu"); }

RunConfig CheckedRun(const char* dtype) {
  RunConfig config = TinyRun("unused");
  config.mutable_model()->set_width(16);
  config.mutable_model()->set_ffn(20);
  config.mutable_data()->set_sequence_length(32);
  config.mutable_training()->set_dtype(dtype);
  config.mutable_training()->set_batch_sequences(2);
  config.mutable_training()->mutable_optimizer()->set_clip_norm(0);  // its limit is infinity
  return Resolved(config, 1);
}

// Two sequences, the second one cut into two documents and padded.
TokenBatch Batch() {
  const Philox philox(7, 0);
  std::vector<int32_t> ids(2 * 32);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(philox.Block(i)[0] % kVocab);
  TokenBatch batch = TokenBatch::FromIds(ids, 1, true);
  batch.sequences = 2;
  batch.length = 32;
  for (int i = 16; i < 32; ++i) batch.document_begin[32 + i] = 16;
  for (int i = 60; i < 64; ++i) batch.real[i] = batch.scored[i] = 0;
  return batch;
}

class Training {
 public:
  Training(const char* dtype, std::unique_ptr<OpenedDevice> device)
      : config_(CheckedRun(dtype)),
        device_(std::move(device)),
        self_(SelfCommunicator()),
        mesh_(*Mesh::Create(*self_, config_.parallel())),
        context_(device_->MakeContext(nullptr)),
        trainer_(config_, mesh_, context_, device_->allocator().main(), device_.get()) {}

  Trainer& trainer() { return trainer_; }
  const Context& context() const { return context_; }
  StepMetrics Step() { return *trainer_.Step({Batch()}); }
  Tensor Weight(const char* name) { return trainer_.model().parameters().Find(name)->master; }
  std::vector<double> Masters() { return ToDoubles(context_, trainer_.model().parameters().master()); }

 private:
  const RunConfig config_;
  std::unique_ptr<OpenedDevice> device_;
  std::unique_ptr<Communicator> self_;
  Mesh mesh_;
  Context context_;
  Trainer trainer_;
};

TEST(CheckedStep, IsTheSameToTheBit) {
  for (const bool gpu : {false, true}) {
    for (const char* dtype : {"f32", "bf16"}) {
      SCOPED_TRACE(absl::StrCat(gpu ? "GPU " : "CPU ", dtype));
      Training plain(dtype, Open(gpu)), checked(dtype, CheckedDevice(Open(gpu)));
      for (int step = 0; step < 3; ++step) {
        const StepMetrics want = plain.Step(), got = checked.Step();
        EXPECT_EQ(got.loss, want.loss);
        EXPECT_EQ(got.grad_norm, want.grad_norm);
        EXPECT_TRUE(got.skipped.empty());
      }
      EXPECT_EQ(checked.Masters(), plain.Masters());
    }
  }
}

TEST(CheckedStep, StopsAtTheFirstOperationThatMeetsANan) {
  for (const bool gpu : {false, true}) {
    SCOPED_TRACE(gpu ? "GPU" : "CPU");
    Training run("f32", CheckedDevice(Open(gpu)));
    run.Step();
    const Tensor weight = run.Weight("level.1.encoder.norm.weight");
    float value = 0;
    run.context().ToHost(weight.Rows(3, 4), &value);
    const float infinity = std::numeric_limits<float>::infinity();  // which may be uploaded
    ops::CopyFromHost(run.context(), &infinity, weight.Rows(3, 4));
    std::string message;
    try {
      run.Step();
    } catch (const NotFinite& found) {
      message = found.what();
    }
    EXPECT_THAT(
        message,
        AllOf(HasSubstr("check: rms_norm_forward wrote"),
              HasSubstr(absl::StrCat("weight ", weight.ToString(), ", 0 NaN and 1 infinite of ", weight.elements()))));
    // Nothing was applied, and the step can be done again.
    EXPECT_EQ(run.trainer().state().step(), 1);
    ops::CopyFromHost(run.context(), &value, weight.Rows(3, 4));
    EXPECT_TRUE(run.Step().skipped.empty());
  }
}

}  // namespace
}  // namespace photon::testing
