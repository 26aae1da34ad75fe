// How well `photon plan --device cpu` predicts: memory and seconds of a step, predicted and measured, for layouts of
// ranks that are threads with one OpenMP thread each. No more ranks than cores, or times mean nothing. The prediction
// adds up the fastest times of operations, so it is compared with the fastest step; the median beside it shows how far
// other work on the machine matters.
//   OMP_NUM_THREADS=1 build/bench/plan [--dtype f32|bf16] [--rounds N] [--json FILE]
#include <omp.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/timing.h"
#include "bench/train_model.h"
#include "core/backend.h"
#include "plan/cpu_machine.h"
#include "train/trainer.h"

namespace photon::bench {
namespace {

struct Layout {
  const char* name;
  int ranks;
  std::vector<std::string> overrides;
};

const std::vector<Layout>& Layouts() {
  static const std::vector<Layout> layouts = {
      {"one rank", 1, {}},
      {"dp 2", 2, {"parallel.dp=2"}},
      {"dp 2, ZeRO-1", 2, {"parallel.dp=2", "parallel.shard=OPTIMIZER"}},
      {"dp 2, ZeRO-2", 2, {"parallel.dp=2", "parallel.shard=GRADIENTS"}},
      {"cp 2", 2, {"parallel.cp=2"}},
      {"tp 2", 2, {"parallel.tp=2"}},
      {"tp 2, all by heads",
       2,
       {"parallel.tp=2", "parallel.levels.0.decoder=TENSOR", "parallel.levels.1.decoder=TENSOR"}},
      {"pp 2", 2, {"parallel.pp=2"}},
  };
  return layouts;
}

struct Measured {
  double seconds = 1e30, median = 0;  // of the slowest rank
  double bytes = 0;                   // of the rank that needs most
};

Measured Run(const RunConfig& config, int ranks, int rounds) {
  const auto comms = ThreadCommunicators(ranks);
  std::vector<std::thread> threads;
  std::vector<Measured> measured(ranks);
  for (const auto& comm : comms) {
    threads.emplace_back([&] {
      omp_set_num_threads(1);
      const Mesh mesh = *Mesh::Create(*comm, config.parallel());
      Arena arena;
      const Context context({}, CpuBackend(), arena);
      Trainer trainer(config, mesh, context, arena);
      const TrainingConfig& training = config.training();
      TokenBatch batch = RandomBatch(config, training.micro_batch_sequences());
      for (size_t i = 0; i < batch.document_begin.size(); ++i) {
        const int64_t at = static_cast<int64_t>(i) % batch.length;
        batch.document_begin[i] = at >= batch.length / 2 ? static_cast<int32_t>(batch.length / 2) : 0;
      }
      const std::vector<TokenBatch> batches(
          training.batch_sequences() / config.parallel().dp() / training.micro_batch_sequences(), batch);
      std::vector<double> seconds;
      for (int round = 0; round <= rounds; ++round) {
        PHOTON_CHECK(comm->Barrier("round").ok());
        const double step = Seconds([&] { PHOTON_CHECK(trainer.Step(batches).ok()); });
        if (round > 0) seconds.push_back(step);
      }
      measured[comm->rank()] = {*std::min_element(seconds.begin(), seconds.end()), Median(seconds),
                                static_cast<double>(arena.peak())};
    });
  }
  for (std::thread& thread : threads) thread.join();
  Measured all = measured[0];
  for (const Measured& m : measured) {
    all.seconds = std::max(all.seconds, m.seconds);
    all.median = std::max(all.median, m.median);
    all.bytes = std::max(all.bytes, m.bytes);
  }
  return all;
}

nlohmann::json Compare(const std::string& dtype, int rounds) {
  std::printf("%-20s%13s%12s%8s%11s%14s%13s%8s\n", "", "predicted s", "measured s", "ratio", "(median)", "predicted MB",
              "measured MB", "ratio");
  std::map<int, Machine> machines;
  nlohmann::json results = nlohmann::json::array();
  for (const Layout& layout : Layouts()) {
    RunConfig config = Config("photon", dtype, /*length=*/512, /*sequences=*/8, /*slice=*/1024);
    config.clear_parallel();
    config.mutable_training()->set_micro_batch_sequences(2);
    config.mutable_data()->set_train("unused");
    config.set_run_dir("unused");
    for (const std::string& assignment : layout.overrides) PHOTON_CHECK(ApplyOverride(assignment, &config).ok());
    if (machines.count(layout.ranks) == 0) {
      machines[layout.ranks] = MeasureCpu(layout.ranks, dtype == "bf16" ? DType::kBF16 : DType::kF32);
    }
    const absl::StatusOr<Prediction> predicted =
        Predict(config, layout.ranks, machines[layout.ranks], {.all_ranks = true, .all_microbatches = true});
    if (!predicted.ok()) {
      std::printf("%-20s%s\n", layout.name, std::string(predicted.status().message()).c_str());
      continue;
    }
    const Measured measured = Run(predicted->config, layout.ranks, rounds);
    const auto bytes = static_cast<double>(predicted->largest().memory.peak());
    std::printf("%-20s%13.3f%12.3f%8.2f%11.3f%14.1f%13.1f%8.3f\n", layout.name, predicted->run.step_s, measured.seconds,
                predicted->run.step_s / measured.seconds, measured.median, bytes / 1e6, measured.bytes / 1e6,
                bytes / measured.bytes);
    std::fflush(stdout);
    results.push_back({{"layout", layout.name},
                       {"predicted_s", predicted->run.step_s},
                       {"measured_s", measured.seconds},
                       {"median_s", measured.median},
                       {"predicted_bytes", bytes},
                       {"measured_bytes", measured.bytes}});
  }
  return results;
}

}  // namespace
}  // namespace photon::bench

int main(int argc, char** argv) {
  CLI::App app("Predicted and measured steps");
  std::string dtype = "f32", json;
  int rounds = 7;
  app.add_option("--dtype", dtype)->check(CLI::IsMember({"f32", "bf16"}))->capture_default_str();
  app.add_option("--rounds", rounds, "Steps that are timed")->capture_default_str();
  app.add_option("--json", json);
  CLI11_PARSE(app, argc, argv);
  omp_set_num_threads(1);
  const nlohmann::json results = photon::bench::Compare(dtype, rounds);
  if (!json.empty()) std::ofstream(json) << results.dump(2) << "\n";
}
