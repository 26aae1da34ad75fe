// Shared-out state on GPUs (emulated ones, over a stand-in for NCCL and by way of the host): the bits of a step
// without.
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "core/cuda/opened_device.h"
#include "parallel/cuda/nccl.h"
#include "parallel/staged.h"
#include "tests/parallel/fake_nccl.h"
#include "tests/simt/emulator/device.h"
#include "tests/support/tensors.h"
#include "tests/train/training_run.h"

namespace photon::testing {
namespace {

using Shard = ParallelConfig::Shard;

RunConfig ShardedRun(Shard shard, bool overlap) {
  RunConfig config = TinyRun("unused");
  config.mutable_model()->set_width(16);
  config.mutable_model()->set_ffn(20);
  config.mutable_data()->set_sequence_length(32);
  config.mutable_training()->set_dtype("bf16");
  config.mutable_training()->set_batch_sequences(2);
  config.mutable_parallel()->set_shard(shard);
  config.mutable_parallel()->set_overlap_reduction(overlap);
  config.mutable_parallel()->set_bucket_mb(0.004);
  return Resolved(config, 2);
}

TokenBatch Sequence(int rank, uint64_t step) {
  const Philox philox(7, step);
  std::vector<int32_t> ids(32);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(philox.Block(100 * rank + i)[0] % kVocab);
  return TokenBatch::FromIds(ids, 1, true);
}

// What each of two ranks computes with after three steps: queued, recorded, replayed (where steps are).
std::map<std::string, std::vector<double>> TrainOverGpus(const RunConfig& config, bool nccl) {
  simt::SetDeviceCount(8);
  std::vector<std::unique_ptr<Communicator>> hosts = ThreadCommunicators(2);
  std::vector<std::map<std::string, std::vector<double>>> found(2);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      const std::unique_ptr<OpenedDevice> device = *cuda::OpenCudaDevice(nccl ? r : 0);
      const Context context = device->MakeContext(nullptr);
      auto world = nccl ? cuda::NcclCommunicator(FakeNccl(), std::move(hosts[r]), context)
                        : StagedCommunicator(std::move(hosts[r]), context);
      PHOTON_CHECK(world.ok()) << world.status().ToString();
      const Mesh mesh = *Mesh::Create(**world, config.parallel());
      Trainer trainer(config, mesh, context, device->allocator().main(), device.get());
      for (uint64_t step = 0; step < 3; ++step) {
        const absl::StatusOr<StepMetrics> metrics = trainer.Step({Sequence(r, step)});
        ASSERT_TRUE(metrics.ok()) << metrics.status();
        EXPECT_TRUE(metrics->skipped.empty());
      }
      for (const auto& p : trainer.model().parameters().parameters()) {
        found[r][p->spec.name] = ToDoubles(context, p->compute.defined() ? p->compute : p->master);
      }
      EXPECT_EQ((*world)->Barrier("end"), absl::OkStatus());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(found[0], found[1]);
  return found[0];
}

TEST(ShardedDeviceStep, HasTheBitsOfOneWithoutShards) {
  const auto over_nccl = TrainOverGpus(ShardedRun(ParallelConfig::NOTHING, false), true);
  EXPECT_EQ(TrainOverGpus(ShardedRun(ParallelConfig::OPTIMIZER, false), true), over_nccl);
  EXPECT_EQ(TrainOverGpus(ShardedRun(ParallelConfig::GRADIENTS, true), true), over_nccl);
  // By way of the host nothing overlaps: a device belongs to one thread.
  EXPECT_EQ(TrainOverGpus(ShardedRun(ParallelConfig::GRADIENTS, false), false), over_nccl);
}

}  // namespace
}  // namespace photon::testing
