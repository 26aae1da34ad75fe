// The same bits in every run, in whatever order a GPU (the emulated one) takes its threads and its queue.
#include <gtest/gtest.h>

#include "core/cuda/opened_device.h"
#include "tests/simt/emulator/order.h"
#include "tests/support/tensors.h"
#include "tests/train/training_run.h"

namespace photon::testing {
namespace {

using simt::Queueing;
using simt::ThreadOrder;

// Masters after three steps: queued, recorded, replayed.
std::vector<double> Masters(const char* dtype, ThreadOrder order, Queueing queueing) {
  simt::SetThreadOrder(order);
  simt::SetQueueing(queueing);
  RunConfig config = TinyRun("unused");
  config.mutable_model()->set_width(16);
  config.mutable_model()->set_ffn(20);
  config.mutable_data()->set_sequence_length(32);
  config.mutable_training()->set_dtype(dtype);
  config.mutable_training()->set_deterministic(true);
  config.mutable_training()->set_batch_sequences(2);
  config = Resolved(config, 1);
  const std::unique_ptr<OpenedDevice> device = *cuda::OpenCudaDevice(0);
  device->TimeProducts(!config.training().deterministic());
  const std::unique_ptr<Communicator> self = SelfCommunicator();
  const Mesh mesh = *Mesh::Create(*self, config.parallel());
  const Context context = device->MakeContext(nullptr);
  Trainer trainer(config, mesh, context, device->allocator().main(), device.get());
  const Philox philox(7, 0);
  for (uint64_t step = 0; step < 3; ++step) {
    std::vector<int32_t> ids(2 * 32);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(philox.Block(64 * step + i)[0] % kVocab);
    TokenBatch batch = TokenBatch::FromIds(ids, 1, true);
    batch.sequences = 2;
    batch.length = 32;
    EXPECT_TRUE(trainer.Step({batch})->skipped.empty());
  }
  simt::SetThreadOrder({});
  simt::SetQueueing(Queueing::kLate);
  return ToDoubles(context, trainer.model().parameters().master());
}

TEST(Deterministic, EveryRunAndOrderOfThreadsGivesTheSameBits) {
  for (const char* dtype : {"f32", "bf16"}) {
    SCOPED_TRACE(dtype);
    const std::vector<double> first = Masters(dtype, {}, Queueing::kLate);
    EXPECT_EQ(Masters(dtype, {}, Queueing::kLate), first);
    EXPECT_EQ(Masters(dtype, {ThreadOrder::kLast}, Queueing::kAtOnce), first);
    EXPECT_EQ(Masters(dtype, {ThreadOrder::kRandom, 1}, Queueing::kLate), first);
  }
}

}  // namespace
}  // namespace photon::testing
