// Tokens per second of every generation mode, the bytes they read and the state they hold: PHOTON and the flat model of
// that size, at 25 M parameters and at 120 M; or, token by token alone, the model of a checkpoint or of a config. A
// table for people, then one JSON line.
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/device_option.h"
#include "bench/report.h"
#include "configs/config.h"
#include "core/counting_backend.h"
#include "core/device.h"
#include "core/read_bandwidth.h"
#include "inference/generate.h"
#include "inference/loaded_model.h"

namespace photon {
namespace {

struct Size {
  int vocab, width, ffn, heads, flat_layers, stack_layers;
};
constexpr Size kSmall = {8192, 384, 1024, 6, 10, 2};
constexpr Size kLarge = {32000, 768, 2048, 12, 11, 2};

ModelConfig Flat(const Size& size) {
  ModelConfig config;
  config.set_vocab_size(size.vocab);
  config.set_width(size.width);
  config.set_ffn(size.ffn);
  config.set_heads(size.heads);
  config.set_layers(size.flat_layers);
  return config;
}

ModelConfig Photon(const Size& size, ModelConfig::Scope scope) {
  ModelConfig config = Flat(size);
  config.clear_layers();
  config.set_encoder_scope(scope);
  for (int l = 0; l < 2; ++l) {
    LevelConfig& level = *config.add_levels();
    level.set_encoder_layers(size.stack_layers);
    level.set_decoder_layers(size.stack_layers);
  }
  return config;
}

struct Options {
  int64_t prompt = 128;
  int64_t tokens = 256;
  int rounds = 3;
  std::string device = "cpu";
  std::string json;
  std::string checkpoint;
  std::string config;
  std::vector<std::string> overrides;
  std::string size = "small";
  std::vector<std::string> dtypes = {"f32", "bf16"};
};

class Bench {
 public:
  Bench(const Options& options, OpenedDevice& device)
      : options_(options), device_(device), bandwidth_(MeasureReadBandwidth(context_)) {}

  void Header() const {
    std::printf("%s: prompt of %ld, %ld new tokens, greedy, medians of %d runs; memory is read at %.1f GB/s\n",
                device_.Description().c_str(), static_cast<long>(options_.prompt), static_cast<long>(options_.tokens),
                options_.rounds, bandwidth_ / 1e9);
    std::printf("%-15s%-15s%-6s%9s%12s%14s%14s%10s%13s%13s\n", "model", "mode", "dtype", "size", "prefill", "tokens",
                "read a token", "of limit", "context", "windows");
  }

  void RunShape(const char* name, const ModelConfig& config, DType dtype, const std::vector<GenerationMode>& modes) {
    const std::unique_ptr<LanguageModel> model = LanguageModel::Create(config);
    ParameterSet::Options parameters;
    parameters.compute = dtype;
    parameters.gradients = false;
    model->parameters().Allocate(context_, parameters);
    model->parameters().Initialize(context_, /*seed=*/1);
    for (const GenerationMode mode : modes) Measure(name, *model, dtype, mode);
  }

  void RunCheckpoint(DType dtype) {
    const auto loaded = LoadedModel::Load(options_.checkpoint, dtype, device_);
    PHOTON_CHECK(loaded.ok()) << loaded.status();
    Measure("checkpoint", (*loaded)->model(), dtype, GenerationMode::kHier);
  }

  bool Write() const {
    return WriteReport({{"bench", "decode"},
                        {"prompt", options_.prompt},
                        {"tokens", options_.tokens},
                        {"device", device_.Description()},
                        {"threads", omp_get_max_threads()},
                        {"read_bytes_per_s", bandwidth_},
                        {"results", results_}},
                       options_.json);
  }

 private:
  GenerateResult Run(const Decoder& decoder, GenerationMode mode, int64_t tokens) const {
    std::vector<int32_t> prompt(options_.prompt);
    for (size_t i = 0; i < prompt.size(); ++i) {
      prompt[i] = static_cast<int32_t>(i * 7919 % decoder.model().config().vocab_size());
    }
    return *Generate(decoder, prompt, {.mode = mode, .max_new_tokens = tokens});
  }

  // Bytes a token: what more tokens read more, so that the prefill drops out.
  struct Bytes {
    double weights, all;  // all: of caches too
  };
  Bytes BytesPerToken(const LanguageModel& model, GenerationMode mode) const {
    const std::unique_ptr<Decoder> decoder = Decoder::Create(counting_, model);
    Counts read[2];
    for (int i = 0; i < 2; ++i) {
      const Counts before = CountingBackend::counts();
      Run(*decoder, mode, i == 0 ? 0 : options_.tokens);
      read[i] = CountingBackend::counts() - before;
    }
    const Counts more = read[1] - read[0];
    const double tokens = static_cast<double>(options_.tokens);
    return {static_cast<double>(more.weight_bytes) / tokens, static_cast<double>(more.bytes()) / tokens};
  }

  void Measure(const char* name, const LanguageModel& model, DType dtype, GenerationMode mode) {
    const Bytes bytes = BytesPerToken(model, mode);
    const std::unique_ptr<Decoder> decoder = Decoder::Create(context_, model, &device_);
    Run(*decoder, mode, options_.tokens);  // arena and kernels at their steady state, steps recorded
    std::vector<GenerateResult> runs;
    for (int i = 0; i < options_.rounds; ++i) runs.push_back(Run(*decoder, mode, options_.tokens));
    std::sort(runs.begin(), runs.end(),
              [](const auto& a, const auto& b) { return a.decode_seconds < b.decode_seconds; });
    const GenerateResult& result = runs[runs.size() / 2];
    const double rate = static_cast<double>(options_.tokens) / result.decode_seconds;
    std::printf("%-15s%-15s%-6s%7.1f M%9.1f ms%12.1f/s%11.1f MB%8.1f %%%9.1f KiB%9.1f KiB\n", name,
                std::string(photon::Name(mode)).c_str(), std::string(photon::Name(dtype)).c_str(),
                model.parameters().count() / 1e6, 1e3 * result.prefill_seconds, rate, bytes.all / 1e6,
                100 * bytes.all * rate / bandwidth_, result.bytes.context / 1024.0, result.bytes.windows / 1024.0);
    std::fflush(stdout);
    results_.push_back({{"model", name},
                        {"mode", std::string(photon::Name(mode))},
                        {"dtype", std::string(photon::Name(dtype))},
                        {"parameters", model.parameters().count()},
                        {"prefill_seconds", result.prefill_seconds},
                        {"decode_seconds", result.decode_seconds},
                        {"tokens_per_s", rate},
                        {"bytes_per_token", bytes.all},
                        {"weight_bytes_per_token", bytes.weights},
                        {"share_of_read", bytes.all * rate / bandwidth_},
                        {"share_of_weights", bytes.weights * rate / bandwidth_},
                        {"context_bytes", result.bytes.context},
                        {"window_bytes", result.bytes.windows}});
  }

  const Options options_;
  OpenedDevice& device_;
  const Context context_ = device_.MakeContext(/*profiler=*/nullptr);
  const Context counting_{context_.device(), CountingBackend::Over(context_.backend()), context_.allocator(),
                          context_.stream()};
  const double bandwidth_;
  nlohmann::json results_ = nlohmann::json::array();
};

void RunSize(Bench& bench, const Size& size, DType dtype) {
  bench.RunShape("flat", Flat(size), dtype, {GenerationMode::kHier});
  bench.RunShape("photon", Photon(size, ModelConfig::GLOBAL), dtype,
                 {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec});
  bench.RunShape("photon, GROUP", Photon(size, ModelConfig::GROUP), dtype, {GenerationMode::kHier});
}

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  photon::Options options;
  CLI::App app("Decoding speed by mode, one sequence, greedy");
  app.add_option("--prompt", options.prompt, "Tokens of the prompt")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--tokens", options.tokens, "Tokens to generate")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--rounds", options.rounds, "Runs to take the median of")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI::Option* size = app.add_option("--size", options.size, "small (25 M parameters), large (120 M) or all")
                          ->check(CLI::IsMember({"small", "large", "all"}))
                          ->capture_default_str();
  CLI::Option* checkpoint =
      app.add_option("--checkpoint", options.checkpoint, "Measure this checkpoint's model instead")->excludes(size);
  app.add_option("--config", options.config, "Measure this config's model, with random weights, instead")
      ->excludes(size, checkpoint);
  app.add_option("--set", options.overrides, "FIELD=VALUE: overrides one field of the config")->allow_extra_args(false);
  app.add_option("--json", options.json, "File for the figures");
  app.add_option("--dtype", options.dtypes, "Compute types")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  photon::AddDeviceOption(app, &options.device);
  CLI11_PARSE(app, argc, argv);
  const auto device = photon::OpenDeviceOrExit(options.device);
  photon::RunConfig config;
  if (!options.config.empty()) {
    auto loaded = photon::LoadRunConfig(options.config, options.overrides);
    if (!loaded.ok()) {
      std::fprintf(stderr, "%s\n", std::string(loaded.status().message()).c_str());
      return 2;
    }
    config = *std::move(loaded);
  }
  photon::Bench bench(options, *device);
  bench.Header();
  for (const std::string& name : options.dtypes) {
    const photon::DType dtype = name == "f32" ? photon::DType::kF32 : photon::DType::kBF16;
    if (!options.checkpoint.empty()) {
      bench.RunCheckpoint(dtype);
    } else if (!options.config.empty()) {
      bench.RunShape("config", config.model(), dtype, {photon::GenerationMode::kHier});
    } else {
      if (options.size != "large") photon::RunSize(bench, photon::kSmall, dtype);
      if (options.size != "small") photon::RunSize(bench, photon::kLarge, dtype);
    }
  }
  return bench.Write() ? 0 : 1;
}
