// A training step of a 37 M PHOTON (or of a Block Transformer or flat model of as many layers, or of a config's model)
// on random tokens from a token file, with optimizer and log as in training, on any device: time, share of the measured
// matrix peak and memory; on a CPU also where the time goes, by operation and by module; and what depth-first slices do
// to memory. Figures are medians: the step waits for its device at its end.
//   train_step [--model photon|block|flat] [--dtype f32|bf16] [--length T] [--sequences N] [--slice TOKENS] [--steps N]
//              [--trace FILE]
//   train_step --config FILE [--set FIELD=VALUE ..] [--device cuda] [--sequences N | --tokens N] [--micro_batch N]
//              [--steps N] [--eager] [--nominal_tflops X]
//   train_step --memory [--dtype f32|bf16]
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "bench/device_option.h"
#include "bench/report.h"
#include "bench/synthetic_data.h"
#include "bench/timed_backend.h"
#include "bench/train_model.h"
#include "core/device.h"
#include "core/file.h"
#include "core/matrix_peak.h"
#include "core/time.h"
#include "model/flops.h"
#include "parallel/mesh.h"
#include "train/metrics.h"
#include "train/profile_report.h"
#include "train/trainer.h"

namespace photon::bench {
namespace {

struct Options {
  int steps = 5;
  bool eager = false;         // queue every operation anew, on devices that record too
  double nominal_tflops = 0;  // a maker's figure to compare with; 0: none
  std::string trace = "", json = "";
};

struct Steps {
  std::vector<double> seconds;  // of each step after the warm-up
  size_t activations = 0;       // bytes of activations and temporaries at the worst moment
  double memory = 0;            // bytes of all tensors at the worst moment
  int64_t grown = 0;            // how often the arena grew after the warm-up
};

// `context`: of `device`, with `profiler` where that is not null.
Steps RunSteps(OpenedDevice& device, const Context& context, const RunConfig& config, const Options& options,
               Profiler* profiler) {
  const std::unique_ptr<Communicator> self = SelfCommunicator();
  absl::StatusOr<Mesh> mesh = Mesh::Create(*self, config.parallel());
  PHOTON_CHECK(mesh.ok()) << mesh.status().message();
  Arena& arena = device.allocator().main();
  const size_t before = arena.in_use();
  Trainer trainer(config, *mesh, context, arena, options.eager ? nullptr : &device);
  arena.ResetPeak();
  const size_t standing = arena.in_use();
  SyntheticData data(config);
  absl::StatusOr<MetricsLog> log = MetricsLog::Open(data.folder(), /*resumed_step=*/0);
  PHOTON_CHECK(log.ok()) << log.status().message();
  // What the first steps do alone: the arena grows, kernels are made for these shapes; the second records.
  const int warm_up = device.records() && !options.eager ? 3 : 1;
  Steps run;
  for (int i = 0; i < warm_up + options.steps; ++i) {
    if (i == warm_up) {
      TimedBackend::times().clear();
      if (profiler != nullptr) profiler->SetActive(true);
      run.grown = arena.grown();
    }
    const double started = Now();
    absl::StatusOr<StepData> batch = data.loader().Next();
    PHOTON_CHECK(batch.ok()) << batch.status().message();
    const absl::StatusOr<StepMetrics> metrics = trainer.Step(std::move(batch->microbatches));
    PHOTON_CHECK(metrics.ok()) << metrics.status().message();
    log->WriteStep(*metrics);
    if (i >= warm_up) run.seconds.push_back(Now() - started);
    run.memory = std::max(run.memory, metrics->memory_bytes - static_cast<double>(before));
  }
  run.grown = arena.grown() - run.grown;
  run.activations = arena.peak() - standing;
  return run;
}

// The operations' time and the modules': known where operations are done when they return.
void PrintWhere(const Steps& run, const Profiler& profiler, double total) {
  const auto steps = static_cast<double>(run.seconds.size());
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
  const ProfiledSteps profiled = {
      .steps = static_cast<int>(run.seconds.size()), .seconds = total, .arena_grown = run.grown};
  std::printf("\n%s\n", ProfileTable(profiler, profiled).c_str());
}

// Whether the figures could be written.
bool Speed(OpenedDevice& device, const RunConfig& config, const Options& options) {
  const bool on_cpu = device.device().type == DeviceType::kCpu;
  device.TimeProducts(true);
  DType dtype;
  PHOTON_CHECK(ParseDType(config.training().dtype(), &dtype));
  const double peak = MeasureMatrixPeak(device.MakeContext(nullptr), dtype);
  const std::unique_ptr<LanguageModel> model = LanguageModel::Create(config.model());
  const double flops =
      TrainingFlops(config.model(), config.data().sequence_length()) * config.training().batch_sequences();
  Profiler profiler;
  Context context = on_cpu ? Context(Device{}, TimedBackend::Table(), device.allocator(), /*stream=*/nullptr, &profiler)
                           : device.MakeContext(nullptr);
  const Steps run = RunSteps(device, context, config, options, on_cpu ? &profiler : nullptr);
  std::vector<double> seconds = run.seconds;
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  const double tokens = static_cast<double>(config.training().batch_sequences()) * config.data().sequence_length();
  std::printf("%s: %.1f M parameters, %s, T %d, %.0f tokens a step, %.1f MFLOP a token\n", device.Description().c_str(),
              model->parameters().count() / 1e6, config.training().dtype().c_str(), config.data().sequence_length(),
              tokens, flops / tokens / 1e6);
  std::printf("step: median %.3f s (%.3f to %.3f), %.0f tokens/s, %.0f GFLOP/s of %.0f measured: %.1f %%; %.2f GiB\n",
              median, seconds.front(), seconds.back(), tokens / median, flops / median / 1e9, peak / 1e9,
              100 * flops / median / peak, run.memory / (1 << 30));
  if (options.nominal_tflops > 0) {
    std::printf("of %.0f TFLOP/s nominal: %.1f %%\n", options.nominal_tflops,
                100e-12 * flops / median / options.nominal_tflops);
  }
  nlohmann::json report = {{"benchmark", "train_step"},
                           {"device", device.Description()},
                           {"dtype", config.training().dtype()},
                           {"parameters", model->parameters().count()},
                           {"tokens", tokens},
                           {"flops", flops},
                           {"peak_flops_per_s", peak},
                           {"step_s", median},
                           {"tokens_per_s", tokens / median},
                           {"share_of_peak", flops / median / peak},
                           {"recorded", device.records() && !options.eager},
                           {"activation_bytes", run.activations},
                           {"memory_bytes", run.memory}};
  if (options.nominal_tflops > 0) report["share_of_nominal"] = 1e-12 * flops / median / options.nominal_tflops;
  if (on_cpu) {
    PrintWhere(run, profiler, total);
    const ProfiledSteps profiled = {.steps = options.steps, .seconds = total, .arena_grown = run.grown};
    report["profile"] = nlohmann::json::parse(ProfileJson(profiler, profiled));
  }
  if (!options.trace.empty()) {
    const absl::Status written = WriteFile(options.trace, TraceJson(profiler, /*rank=*/0));
    PHOTON_CHECK(written.ok()) << written.message();
  }
  return WriteReport(report, options.json);
}

void Memory(OpenedDevice& device, const std::string& dtype, int slice) {
  const Context context = device.MakeContext(nullptr);
  std::printf("peak bytes of activations and temporaries, one sequence, %s\n%8s %14s %14s\n", dtype.c_str(), "T",
              "no slices", "slices");
  std::vector<std::pair<double, double>> rows;
  const std::vector<int64_t> lengths = {4096, 8192, 16384};
  for (int64_t length : lengths) {
    const auto peak = [&](int slice_tokens) {
      return static_cast<double>(
          RunSteps(device, context, Config("photon", dtype, length, 1, slice_tokens), {.steps = 0}, nullptr)
              .activations);
    };
    rows.emplace_back(peak(0), peak(slice));
    std::printf("%8ld %11.1f MiB %11.1f MiB\n", length, rows.back().first / 1048576.0, rows.back().second / 1048576.0);
  }
  const double ratio = (rows.back().second - rows.front().second) / (rows.back().first - rows.front().first);
  std::printf("growth with T: slices have %.2f of the rate without\n", ratio);
  std::printf("%s\n", nlohmann::json({{"benchmark", "slice_memory"}, {"growth_ratio", ratio}}).dump().c_str());
}

}  // namespace
}  // namespace photon::bench

int main(int argc, char** argv) {
  CLI::App app("Training step benchmark");
  std::string model = "photon", dtype = "bf16", device_name = "cpu", config_file;
  photon::bench::Options options;
  std::vector<std::string> overrides;
  int64_t length = 1024, tokens = 0;
  int sequences = 8, micro_batch = 0, slice = 4096;
  bool memory = false;
  CLI::Option* kind = app.add_option("--model", model)->check(CLI::IsMember({"photon", "block", "flat"}));
  app.add_option("--config", config_file, "a run's config instead: its model, length, type and slices")->excludes(kind);
  app.add_option("--set", overrides, "FIELD=VALUE: overrides one field of the config")->allow_extra_args(false);
  photon::AddDeviceOption(app, &device_name);
  app.add_option("--dtype", dtype)->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--length", length);
  CLI::Option* per_step = app.add_option("--sequences", sequences, "of a step")->capture_default_str();
  app.add_option("--tokens", tokens, "of a step, rounded up to whole sequences")->excludes(per_step);
  app.add_option("--micro_batch", micro_batch, "sequences of a microbatch; default: all of a step");
  app.add_option("--slice", slice);
  app.add_option("--steps", options.steps)->capture_default_str();
  app.add_flag("--eager", options.eager, "queue every operation anew where the device could replay recorded steps");
  app.add_option("--nominal_tflops", options.nominal_tflops, "a maker's figure, to give the share of it too");
  app.add_option("--trace", options.trace, "file for a trace that Perfetto opens (on a CPU)");
  app.add_option("--json", options.json, "file for the figures");
  app.add_flag("--memory", memory);
  CLI11_PARSE(app, argc, argv);
  const auto device = photon::OpenDeviceOrExit(device_name);
  if (memory) {
    photon::bench::Memory(*device, dtype, 1024);
    return 0;
  }
  photon::RunConfig config;
  if (config_file.empty()) {
    config = photon::bench::Config(model, dtype, length, sequences, slice);
  } else {
    auto loaded = photon::LoadRunConfig(config_file, overrides);
    if (!loaded.ok()) {
      std::fprintf(stderr, "%s\n", std::string(loaded.status().message()).c_str());
      return 2;
    }
    config = *std::move(loaded);
  }
  if (tokens > 0)
    sequences = static_cast<int>((tokens + config.data().sequence_length() - 1) / config.data().sequence_length());
  config.mutable_training()->set_batch_sequences(sequences);
  config.mutable_training()->set_micro_batch_sequences(micro_batch > 0 ? micro_batch : sequences);
  config = photon::Resolved(config, 1);
  return photon::bench::Speed(*device, config, options) ? 0 : 1;
}
