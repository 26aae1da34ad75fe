// Tokens per second of every generation mode, and the state they hold: a 25 M PHOTON and a flat model of that size.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/backend.h"
#include "inference/generate.h"

namespace photon {
namespace {

ModelConfig Base() {
  ModelConfig config;
  config.set_vocab_size(8192);
  config.set_width(384);
  config.set_ffn(1024);
  config.set_heads(6);
  return config;
}

ModelConfig Photon(ModelConfig::Scope scope) {
  ModelConfig config = Base();
  config.set_encoder_scope(scope);
  for (int l = 0; l < 2; ++l) {
    LevelConfig& level = *config.add_levels();
    level.set_encoder_layers(2);
    level.set_decoder_layers(2);
  }
  return config;
}

ModelConfig Flat() {
  ModelConfig config = Base();
  config.set_layers(10);
  return config;
}

struct Lengths {
  int64_t prompt = 128;
  int64_t tokens = 512;
};

void Measure(const char* name, const ModelConfig& config, DType dtype, const std::vector<GenerationMode>& modes,
             const Lengths& lengths) {
  Arena arena;
  const Context context(Device{}, CpuBackend(), arena);
  const std::unique_ptr<LanguageModel> model = LanguageModel::Create(config);
  ParameterSet::Options options;
  options.compute = dtype;
  options.gradients = false;
  model->parameters().Allocate(context, options);
  model->parameters().Initialize(context, /*seed=*/1);
  std::vector<int32_t> prompt(lengths.prompt);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(i * 7919 % config.vocab_size());

  for (GenerationMode mode : modes) {
    const auto generate = [&](int64_t tokens) {
      return *Generate(context, *model, prompt, {.mode = mode, .max_new_tokens = tokens});
    };
    generate(32);  // arena and kernels at their steady state
    const GenerateResult result = generate(lengths.tokens);
    std::printf("%-14s %-14s %-5s %6.1f M %9.1f ms %10.1f /s %9.1f KiB %9.1f KiB\n", name,
                std::string(photon::Name(mode)).c_str(), std::string(photon::Name(dtype)).c_str(),
                model->parameters().count() / 1e6, 1e3 * result.prefill_seconds, lengths.tokens / result.decode_seconds,
                result.bytes.context / 1024.0, result.bytes.windows / 1024.0);
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  using photon::GenerationMode;
  CLI::App app("Decoding speed by mode, one sequence, greedy");
  photon::Lengths lengths;
  app.add_option("--prompt", lengths.prompt, "Tokens of the prompt")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--tokens", lengths.tokens, "Tokens to generate")->check(CLI::PositiveNumber)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::printf("prompt of %ld, %ld new tokens\n%-14s %-14s %-5s %8s %12s %13s %13s %13s\n",
              static_cast<long>(lengths.prompt), static_cast<long>(lengths.tokens), "model", "mode", "dtype", "size",
              "prefill", "tokens", "context", "windows");
  for (photon::DType dtype : {photon::DType::kF32, photon::DType::kBF16}) {
    photon::Measure("flat", photon::Flat(), dtype, {GenerationMode::kHier}, lengths);
    photon::Measure("photon", photon::Photon(photon::ModelConfig::GLOBAL), dtype,
                    {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec}, lengths);
    photon::Measure("photon, GROUP", photon::Photon(photon::ModelConfig::GROUP), dtype, {GenerationMode::kHier},
                    lengths);
  }
  return 0;
}
