// A training step of a 37 M PHOTON on random tokens (or of a Block Transformer or flat model of as many layers): time,
// share of the measured matrix peak, where the time goes by operation and by module, and what depth-first slices do to
// its memory.
//   train_step [--model photon|block|flat] [--dtype f32|bf16] [--length T] [--sequences N] [--slice TOKENS] [--steps N]
//              [--trace FILE]
//   train_step --memory [--dtype f32|bf16]
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/timed_backend.h"
#include "bench/train_model.h"
#include "core/file.h"
#include "core/matrix_peak.h"
#include "model/flops.h"
#include "parallel/mesh.h"
#include "train/profile_report.h"
#include "train/trainer.h"

namespace photon::bench {
namespace {

// Seconds of each step after the first; `peak` gets the bytes of activations and temporaries at the worst moment, and
// `profiler` (may be null) the time by module.
std::vector<double> RunSteps(const RunConfig& config, int steps, const Backend& backend, Profiler* profiler,
                             size_t* peak, int64_t* grown) {
  const std::unique_ptr<Communicator> self = SelfCommunicator();
  absl::StatusOr<Mesh> mesh = Mesh::Create(*self, config.parallel());
  PHOTON_CHECK(mesh.ok()) << mesh.status().message();
  Arena arena;
  const Context context(Device{}, backend, arena, /*stream=*/nullptr, profiler);
  Trainer trainer(config, *mesh, context, arena);
  const size_t standing = arena.in_use();
  const TokenBatch batch = RandomBatch(config, config.training().batch_sequences());
  std::vector<double> seconds;
  for (int i = 0; i <= steps; ++i) {
    if (i == 1) {  // the first step warms up: arena, kernels made for these shapes
      TimedBackend::times().clear();
      if (profiler != nullptr) profiler->SetActive(true);
      *grown = arena.grown();
    }
    const absl::StatusOr<StepMetrics> metrics = trainer.Step({batch});
    PHOTON_CHECK(metrics.ok()) << metrics.status().message();
    if (i > 0) seconds.push_back(metrics->step_s);
  }
  *grown = arena.grown() - *grown;
  *peak = arena.peak() - standing;
  return seconds;
}

void Speed(const RunConfig& config, int steps, const std::string& trace) {
  Arena arena;
  DType dtype;
  PHOTON_CHECK(ParseDType(config.training().dtype(), &dtype));
  const double peak = MeasureMatrixPeak(Context(Device{}, CpuBackend(), arena), dtype);
  const std::unique_ptr<LanguageModel> model = LanguageModel::Create(config.model());
  const double flops =
      TrainingFlops(config.model(), config.data().sequence_length()) * config.training().batch_sequences();
  size_t bytes = 0;
  int64_t grown = 0;
  Profiler profiler;
  std::vector<double> seconds = RunSteps(config, steps, TimedBackend::Table(), &profiler, &bytes, &grown);
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  const double total = [&] {
    double sum = 0;
    for (double s : seconds) sum += s;
    return sum;
  }();
  const double tokens = static_cast<double>(config.training().batch_sequences()) * config.data().sequence_length();
  std::printf("%.1f M parameters, %s, T %d, %.0f tokens a step, %.1f MFLOP a token\n",
              model->parameters().count() / 1e6, config.training().dtype().c_str(), config.data().sequence_length(),
              tokens, flops / tokens / 1e6);
  std::printf("step: median %.3f s (%.3f to %.3f), %.0f tokens/s, %.0f GFLOP/s of %.0f measured: %.1f %%\n", median,
              seconds.front(), seconds.back(), tokens / median, flops / median / 1e9, peak / 1e9,
              100 * flops / median / peak);
  double accounted = 0;
  std::vector<std::pair<double, std::string>> parts;
  for (const auto& [name, time] : TimedBackend::times()) {
    parts.emplace_back(time.seconds, name);
    accounted += time.seconds;
  }
  parts.emplace_back(total - accounted, "(everything else)");
  std::sort(parts.rbegin(), parts.rend());
  for (const auto& [time, name] : parts) {
    std::printf("  %-24s %8.2f ms a step  %5.1f %%\n", name.c_str(), 1e3 * time / steps, 100 * time / total);
  }
  const ProfiledSteps profiled = {.steps = steps, .seconds = total, .arena_grown = grown};
  std::printf("\n%s\n", ProfileTable(profiler, profiled).c_str());
  if (!trace.empty()) {
    const absl::Status written = WriteFile(trace, TraceJson(profiler, /*rank=*/0));
    PHOTON_CHECK(written.ok()) << written.message();
  }
  std::printf("%s\n", nlohmann::json({{"benchmark", "train_step"},
                                      {"dtype", config.training().dtype()},
                                      {"parameters", model->parameters().count()},
                                      {"tokens", tokens},
                                      {"flops", flops},
                                      {"peak_flops_per_s", peak},
                                      {"step_s", median},
                                      {"tokens_per_s", tokens / median},
                                      {"share_of_peak", flops / median / peak},
                                      {"activation_bytes", bytes},
                                      {"profile", nlohmann::json::parse(ProfileJson(profiler, profiled))}})
                          .dump()
                          .c_str());
}

void Memory(const std::string& dtype, int slice) {
  std::printf("peak bytes of activations and temporaries, one sequence, %s\n%8s %14s %14s\n", dtype.c_str(), "T",
              "no slices", "slices");
  std::vector<std::pair<double, double>> rows;
  const std::vector<int64_t> lengths = {4096, 8192, 16384};
  for (int64_t length : lengths) {
    size_t without = 0, with = 0;
    int64_t grown = 0;
    RunSteps(Config("photon", dtype, length, 1, 0), 0, CpuBackend(), nullptr, &without, &grown);
    RunSteps(Config("photon", dtype, length, 1, slice), 0, CpuBackend(), nullptr, &with, &grown);
    std::printf("%8ld %11.1f MiB %11.1f MiB\n", length, without / 1048576.0, with / 1048576.0);
    rows.emplace_back(without, with);
  }
  const double ratio = (rows.back().second - rows.front().second) / (rows.back().first - rows.front().first);
  std::printf("growth with T: slices have %.2f of the rate without\n", ratio);
  std::printf("%s\n", nlohmann::json({{"benchmark", "slice_memory"}, {"growth_ratio", ratio}}).dump().c_str());
}

}  // namespace
}  // namespace photon::bench

int main(int argc, char** argv) {
  CLI::App app("Training step benchmark");
  std::string model = "photon", dtype = "bf16", trace;
  int64_t length = 1024;
  int sequences = 8, slice = 4096, steps = 5;
  bool memory = false;
  app.add_option("--model", model)->check(CLI::IsMember({"photon", "block", "flat"}));
  app.add_option("--dtype", dtype)->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--length", length);
  app.add_option("--sequences", sequences);
  app.add_option("--slice", slice);
  app.add_option("--steps", steps);
  app.add_option("--trace", trace, "file for a trace that Perfetto opens");
  app.add_flag("--memory", memory);
  CLI11_PARSE(app, argc, argv);
  if (memory) {
    photon::bench::Memory(dtype, 1024);
  } else {
    photon::bench::Speed(photon::bench::Config(model, dtype, length, sequences, slice), steps, trace);
  }
}
