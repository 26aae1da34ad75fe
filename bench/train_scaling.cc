// What a second core brings to a training step: one thread, two threads, and two ranks with a thread each, the last
// with and without gradients reduced during the backward pass, and with shared-out optimizer state and gradients. All
// take the same batch, step by step in turn; a rank that has nothing to do sleeps.
//   . launch/mpi_env.sh; mpirun -n 2 build/bench/train_scaling [--dtype f32|bf16] [--rounds N]
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/timing.h"
#include "bench/train_model.h"
#include "core/backend.h"
#include "train/trainer.h"

namespace photon::bench {
namespace {

struct Setup {
  const char* name;
  int ranks, threads;
  bool overlap = false;
  ParallelConfig::Shard shard = ParallelConfig::NOTHING;
};

// A setup on this rank, ready to take steps.
class Runner {
 public:
  Runner(const Setup& setup, const RunConfig& requested, Communicator& world, Arena& arena)
      : setup_(setup), context_(Device{}, CpuBackend(), arena) {
    RunConfig config = requested;
    config.mutable_parallel()->set_dp(setup.ranks);
    config.mutable_parallel()->set_overlap_reduction(setup.overlap);
    config.mutable_parallel()->set_shard(setup.shard);
    self_ = SelfCommunicator();
    absl::StatusOr<Mesh> mesh = Mesh::Create(setup.ranks > 1 ? world : *self_, config.parallel());
    PHOTON_CHECK(mesh.ok()) << mesh.status().message();
    mesh_ = std::make_unique<Mesh>(*std::move(mesh));
    trainer_ = std::make_unique<Trainer>(config, *mesh_, context_, arena);
    batch_ = RandomBatch(config, config.training().batch_sequences() / setup.ranks);
  }

  StepMetrics Step() {
    omp_set_num_threads(setup_.threads);
    const absl::StatusOr<StepMetrics> metrics = trainer_->Step({batch_});
    PHOTON_CHECK(metrics.ok()) << metrics.status().message();
    return *metrics;
  }

 private:
  const Setup setup_;
  const Context context_;
  std::unique_ptr<Communicator> self_;
  std::unique_ptr<Mesh> mesh_;
  std::unique_ptr<Trainer> trainer_;
  TokenBatch batch_;
};

// All ranks meet; those who wait sleep. Large enough not to take the way of small tensors, which spins.
void Meet(Communicator& background) {
  std::vector<float> values(32 << 10);
  const absl::Status met = background.AllReduce(
      "meeting", Tensor::Wrap(values.data(), {static_cast<int64_t>(values.size())}, DType::kF32), Reduction::kSum);
  PHOTON_CHECK(met.ok()) << met.message();
}

void Run(const RunConfig& config, int rounds) {
  const std::unique_ptr<Communicator> world = *MpiWorld();
  const std::unique_ptr<Communicator> background = *world->ForBackground();
  std::vector<Setup> setups = {{"1 thread", 1, 1}, {"2 threads", 1, 2}};
  if (world->size() == 2) {
    setups.push_back({"2 ranks of 1 thread", 2, 1});
    setups.push_back({"the same, overlapped", 2, 1, true});
    setups.push_back({"2, shard: OPTIMIZER", 2, 1, false, ParallelConfig::OPTIMIZER});
    setups.push_back({"2, shard: GRADIENTS", 2, 1, false, ParallelConfig::GRADIENTS});
  }
  Arena arena;
  std::vector<std::unique_ptr<Runner>> runners;
  for (const Setup& setup : setups) {
    const bool mine = setup.ranks > 1 || world->rank() == 0;
    runners.push_back(mine ? std::make_unique<Runner>(setup, config, *world, arena) : nullptr);
  }
  std::vector<std::vector<double>> seconds(setups.size()), waiting(setups.size());
  for (int round = 0; round <= rounds; ++round) {
    for (size_t i = 0; i < setups.size(); ++i) {
      Meet(*background);
      if (runners[i] == nullptr) continue;
      const StepMetrics metrics = runners[i]->Step();
      if (round == 0) continue;  // warms up
      seconds[i].push_back(metrics.step_s);
      waiting[i].push_back(metrics.communication_s);
    }
  }
  Meet(*background);
  if (world->rank() != 0) return;

  const double tokens = static_cast<double>(config.training().batch_sequences()) * config.data().sequence_length();
  nlohmann::json results = nlohmann::json::array();
  std::printf("%-24s%12s%12s%18s%14s%14s\n", config.training().dtype().c_str(), "median s", "tokens/s",
              "reduction wait s", "x 1 thread", "x 2 threads");
  for (size_t i = 0; i < setups.size(); ++i) {
    // Ratios of neighbours in time: what else the machine does falls on both.
    std::vector<double> to_one, to_two;
    for (size_t r = 0; r < seconds[i].size(); ++r) {
      to_one.push_back(seconds[0][r] / seconds[i][r]);
      to_two.push_back(seconds[1][r] / seconds[i][r]);
    }
    const double median = Median(seconds[i]);
    std::printf("%-24s%12.3f%12.0f%18.4f%14.2f%14.2f\n", setups[i].name, median, tokens / median, Median(waiting[i]),
                Median(to_one), Median(to_two));
    results.push_back({{"setup", setups[i].name},
                       {"step_s", median},
                       {"reduction_wait_s", Median(waiting[i])},
                       {"against_one_thread", Median(to_one)},
                       {"against_two_threads", Median(to_two)}});
  }
  std::printf("%s\n", nlohmann::json({{"benchmark", "train_scaling"},
                                      {"dtype", config.training().dtype()},
                                      {"rounds", rounds},
                                      {"results", results}})
                          .dump()
                          .c_str());
}

}  // namespace
}  // namespace photon::bench

int main(int argc, char** argv) {
  CLI::App app("Threads and ranks in a training step");
  std::string dtype = "bf16";
  int sequences = 8, rounds = 5;
  app.add_option("--dtype", dtype)->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--sequences", sequences, "of a step, even")->capture_default_str();
  app.add_option("--rounds", rounds)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  photon::bench::Run(photon::bench::Config("photon", dtype, 1024, sequences, 4096), rounds);
}
