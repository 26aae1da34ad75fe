// What a save that is written behind the training costs the steps beside it: times of steps of a 37 M PHOTON, in rounds
// of some steps without a save, the copy and the steps while it is written, and a save that training waits for.
// Usage: checkpoint_overlap [FOLDER [ROUNDS [SEQUENCES]]].
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/timing.h"
#include "configs/config.h"
#include "core/backend.h"
#include "core/random.h"
#include "parallel/mesh.h"
#include "train/run_checkpoints.h"
#include "train/trainer.h"

namespace photon {
namespace {

RunConfig Config(const std::string& folder, int sequences) {
  RunConfig config;
  config.set_run_dir(folder);
  ModelConfig& model = *config.mutable_model();
  model.set_vocab_size(8192);
  for (int l = 0; l < 2; ++l) {
    LevelConfig& level = *model.add_levels();
    level.set_encoder_layers(2);
    level.set_decoder_layers(2);
  }
  config.mutable_training()->set_batch_sequences(sequences);
  config.mutable_checkpoint()->set_keep_last(1);
  return Resolved(config, 1);
}

TokenBatch RandomBatch(const RunConfig& config) {
  const Philox philox(1, 2);
  std::vector<int32_t> ids(config.training().batch_sequences() * config.data().sequence_length());
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(philox.Block(i)[0] % config.model().vocab_size());
  }
  TokenBatch batch = TokenBatch::FromIds(ids, 1, true);
  batch.sequences = config.training().batch_sequences();
  batch.length = config.data().sequence_length();
  return batch;
}

void Must(const absl::Status& status) { PHOTON_CHECK(status.ok()) << status.ToString(); }

void Run(const std::string& folder, int rounds, int sequences) {
  const RunConfig config = Config(folder, sequences);
  const std::unique_ptr<Communicator> self = SelfCommunicator();
  const absl::StatusOr<Mesh> mesh = Mesh::Create(*self, config.parallel());
  Must(mesh.status());
  Arena arena;
  const Context context(Device{}, CpuBackend(), arena);
  Trainer trainer(config, *mesh, context, arena);
  RunCheckpoints checkpoints(context, *mesh, config, trainer.model().parameters(), trainer.optimizer(), "");
  const absl::StatusOr<bool> behind = checkpoints.PrepareAsync();
  Must(behind.status());
  if (!*behind) Must(absl::ResourceExhaustedError("no room for the copy"));
  const TokenBatch batch = RandomBatch(config);
  const auto step = [&] { return Seconds([&] { Must(trainer.Step({batch}).status()); }); };
  for (int i = 0; i < 2; ++i) step();  // warms up: arena, kernels made for these shapes

  std::vector<double> alone, begin, first, during, waited, first_over;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> before;
    for (int i = 0; i < 3; ++i) before.push_back(step());
    alone.insert(alone.end(), before.begin(), before.end());
    begin.push_back(Seconds([&] { Must(checkpoints.BeginSave(trainer.state())); }));
    for (bool beside_first = true; checkpoints.save_under_way(); beside_first = false) {
      const double seconds = step();
      (beside_first ? first : during).push_back(seconds);
      if (checkpoints.working()) continue;
      if (const auto ended = checkpoints.AdvanceSave(); ended.has_value()) Must(*ended);
    }
    first_over.push_back((begin.back() + first.back()) / Median(before) - 1);
    waited.push_back(Seconds([&] { Must(checkpoints.Save(trainer.state())); }));
  }
  std::printf("%.1f M parameters, %.0f MB a checkpoint, %d rounds; medians\n",
              trainer.model().parameters().count() / 1e6, trainer.model().parameters().count() * 12 / 1e6, rounds);
  std::printf("  step without a save            %8.1f ms\n", 1e3 * Median(alone));
  std::printf("  copy before the step           %8.1f ms\n", 1e3 * Median(begin));
  std::printf("  first step beside a save       %8.1f ms: with the copy %+.1f %%\n", 1e3 * Median(first),
              100 * Median(first_over));
  std::printf("  later steps beside it          %8.1f ms, %.1f a save\n", 1e3 * Median(during),
              static_cast<double>(during.size()) / rounds);
  std::printf("  a save that is waited for      %8.1f ms\n", 1e3 * Median(waited));
  std::printf("%s\n", nlohmann::json({{"benchmark", "checkpoint_overlap"},
                                      {"parameters", trainer.model().parameters().count()},
                                      {"step_s", Median(alone)},
                                      {"copy_s", Median(begin)},
                                      {"first_step_s", Median(first)},
                                      {"later_step_s", Median(during)},
                                      {"first_step_over", Median(first_over)},
                                      {"waited_save_s", Median(waited)}})
                          .dump()
                          .c_str());
}

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  const std::string folder = (argc > 1 ? std::string(argv[1]) : std::string(".")) + "/checkpoint-overlap-bench";
  photon::Run(folder, argc > 2 ? std::atoi(argv[2]) : 5, argc > 3 ? std::atoi(argv[3]) : 4);
  std::filesystem::remove_all(folder);
}
