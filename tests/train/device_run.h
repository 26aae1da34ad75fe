// A trainer on a device, and batches for it: for tests of what a GPU trains, beside the CPU.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/gpu.h"
#include "tests/support/tensors.h"
#include "tests/train/training_run.h"

namespace photon::testing {

// Three sequences a step in two microbatches of two forms.
inline RunConfig DeviceStepRun(const std::string& dtype, const std::string& run_dir = "unused") {
  RunConfig config = TinyRun(run_dir);
  config.mutable_model()->set_width(16);
  config.mutable_model()->set_ffn(20);
  config.mutable_data()->set_sequence_length(32);
  TrainingConfig& training = *config.mutable_training();
  training.set_dtype(dtype);
  training.set_batch_sequences(3);
  training.set_micro_batch_sequences(2);
  training.set_slice_tokens(40);
  training.set_recompute(true);
  training.mutable_health()->set_spike_factor(0);
  return Resolved(config, 1);
}

// Random tokens; the last sequence is one document or two, and begins with padding's like: unscored tokens.
inline std::vector<TokenBatch> Microbatches(uint64_t step) {
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

// `recorded`: with the device's recording.
class DeviceRun {
 public:
  DeviceRun(const RunConfig& config, std::unique_ptr<OpenedDevice> device, bool recorded)
      : device_(std::move(device)),
        self_(SelfCommunicator()),
        mesh_(*Mesh::Create(*self_, config.parallel())),
        context_(device_->MakeContext(nullptr)),
        trainer_(config, mesh_, context_, device_->allocator().main(), recorded ? device_.get() : nullptr),
        checkpoints_(context_, mesh_, config, trainer_.model().parameters(), trainer_.optimizer(), "") {}

  StepMetrics Step(uint64_t batch) { return *trainer_.Step(Microbatches(batch)); }
  Trainer& trainer() { return trainer_; }
  const Context& context() const { return context_; }
  Tensor Weight() { return trainer_.model().parameters().Find("level.1.encoder.norm.weight")->master; }
  std::vector<double> Masters() { return ToDoubles(context_, trainer_.model().parameters().master()); }
  std::vector<double> Gradients() { return ToDoubles(context_, trainer_.model().parameters().gradient()); }
  // First and second, of all parameters in the order in which the model adds them.
  std::vector<double> Moments() {
    std::vector<double> all;
    for (const auto& p : trainer_.model().parameters().parameters()) {
      for (const Tensor& t : {trainer_.optimizer().m(*p), trainer_.optimizer().v(*p)}) {
        const std::vector<double> values = ToDoubles(context_, t);
        all.insert(all.end(), values.begin(), values.end());
      }
    }
    return all;
  }
  int64_t grown() { return device_->allocator().main().grown(); }

  absl::Status Save() { return checkpoints_.Save(trainer_.state()); }
  absl::StatusOr<int64_t> Resume() { return ResumeFrom(checkpoints_, trainer_); }

 private:
  std::unique_ptr<OpenedDevice> device_;
  std::unique_ptr<Communicator> self_;
  Mesh mesh_;
  Context context_;
  Trainer trainer_;
  RunCheckpoints checkpoints_;
};

}  // namespace photon::testing
