// The decode-heavy protocol: short prompts, long texts, as many sequences at once as memory holds. Tokens a second,
// memory, and thousands of tokens a second and GiB, beside what reading weights and caches once would allow. Models of
// the paper's sizes with random weights; --scale makes them small enough for any machine. A table for people, then one
// JSON line.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/counting_backend.h"
#include "bench/device_bandwidth.h"
#include "bench/device_option.h"
#include "bench/report.h"
#include "configs/config.h"
#include "core/device.h"
#include "inference/batch_generation.h"
#include "inference/photon_decoder.h"

namespace photon {
namespace {

struct Options {
  std::string device = "cpu", dtype = "bf16", configs = "configs", size = "600m", json;
  int64_t prompt = 128, tokens = 2048, batch = 0, most = 4096;
  double scale = 1;
};

constexpr double kGiB = 1 << 30;

// The config's model with so many times its heads (of the same size) and feed-forward width.
ModelConfig Scaled(ModelConfig model, double scale) {
  if (scale == 1) return model;
  const int head_dim = model.width() / model.heads();
  const auto heads = [&](int n) { return std::max(4, static_cast<int>(n * scale) / 4 * 4); };
  model.set_ffn(std::max(64, static_cast<int>(model.ffn() * scale) / 64 * 64));
  model.set_heads(heads(model.heads()));
  model.clear_kv_heads();
  model.set_width(model.heads() * head_dim);
  return model;
}

class Bench {
 public:
  Bench(const Options& options, OpenedDevice& device)
      : options_(options), device_(device), bandwidth_(DeviceReadBandwidth(context_)) {
    std::printf("%s: %ld tokens in, %ld out, %s; memory is read at %.1f GB/s\n", device_.Description().c_str(),
                static_cast<long>(options_.prompt), static_cast<long>(options_.tokens), options_.dtype.c_str(),
                bandwidth_ / 1e9);
    std::printf("%-9s%-15s%10s%8s%12s%10s%16s%14s%10s\n", "model", "mode", "size", "batch", "tokens/s", "GiB",
                "K tok/s/GiB", "bound, tok/s", "of bound");
  }

  void Run(const std::string& name, const std::vector<GenerationMode>& modes) {
    const auto config = LoadRunConfig(options_.configs + "/" + name + "-" + options_.size + ".textproto");
    PHOTON_CHECK(config.ok()) << config.status().message();
    const std::unique_ptr<LanguageModel> model = LanguageModel::Create(Scaled(config->model(), options_.scale));
    ParameterSet::Options parameters;
    parameters.compute = options_.dtype == "bf16" ? DType::kBF16 : DType::kF32;
    parameters.gradients = false;
    model->parameters().Allocate(context_, parameters);
    model->parameters().Initialize(context_, /*seed=*/1);
    for (const GenerationMode mode : modes) Measure(name, *model, mode);
  }

  bool Write() const {
    return WriteReport({{"bench", "decode_heavy"},
                        {"device", device_.Description()},
                        {"prompt", options_.prompt},
                        {"tokens", options_.tokens},
                        {"dtype", options_.dtype},
                        {"scale", options_.scale},
                        {"read_bytes_per_s", bandwidth_},
                        {"results", results_}},
                       options_.json);
  }

 private:
  // Sequences that the free memory holds, a tenth left for activations and recorded operations.
  int64_t BatchFor(const Decoder& decoder) {
    if (options_.batch > 0) return options_.batch;
    Arena& arena = device_.allocator().main();
    const size_t before = arena.in_use();
    const DecodingState state = decoder.NewState(options_.prompt + options_.tokens);
    const double each = static_cast<double>(arena.in_use() - before) + 8.0 * decoder.model().config().vocab_size();
    const double room = static_cast<double>(device_.memory().free + arena.reserved() - before);
    return std::clamp<int64_t>(static_cast<int64_t>(0.9 * room / each), 1, options_.most);
  }

  // Decodes `tokens` of every sequence; the seconds that took, prefill left out.
  double Decode(const Context& context, const Decoder& decoder, GenerationMode mode, int64_t batch, int64_t tokens) {
    std::vector<int32_t> prompt(options_.prompt);
    for (size_t i = 0; i < prompt.size(); ++i) {
      prompt[i] = static_cast<int32_t>(i * 7919 % decoder.model().config().vocab_size());
    }
    DecodingState read = decoder.NewState(options_.prompt + options_.tokens);
    decoder.Prefill(read, prompt);
    GenerateOptions options = {.mode = mode, .max_new_tokens = tokens};
    options.sampling.temperature = 1;  // so that sequences differ
    std::vector<Running> running;
    for (int64_t i = 0; i < batch; ++i) {
      running.push_back({i + 1 == batch ? std::move(read) : read.Copy(context), Sequence(options, nullptr, prompt, i)});
    }
    const BatchGeneration::Report report = [](const Running&, absl::Span<const int32_t>, absl::string_view) {};
    BatchGeneration generation(context, report);
    std::vector<Running*> members;
    for (Running& one : running) members.push_back(&one);
    context.Synchronize();
    return Seconds([&] {
      const absl::Status status = generation.DecodeToEnd(decoder, mode, members);
      PHOTON_CHECK(status.ok()) << status.message();
      context.Synchronize();
    });
  }

  // Bytes that decoding reads, of weights for all sequences together and of caches for each: counted with one sequence.
  CountingBackend::Bytes Count(const LanguageModel& model, GenerationMode mode) {
    const std::unique_ptr<Decoder> decoder = Decoder::Create(counting_, model);
    Decode(counting_, *decoder, mode, 1, 1);  // what the prefill reads drops out of the difference
    CountingBackend::Bytes read[2];
    for (int i = 0; i < 2; ++i) {
      const CountingBackend::Bytes before = CountingBackend::bytes();
      Decode(counting_, *decoder, mode, 1, i == 0 ? 0 : options_.tokens);
      read[i] = {CountingBackend::bytes().weights - before.weights, CountingBackend::bytes().caches - before.caches};
    }
    return {read[1].weights - read[0].weights, read[1].caches - read[0].caches};
  }

  void Measure(const std::string& name, const LanguageModel& model, GenerationMode mode) {
    const CountingBackend::Bytes read = Count(model, mode);
    const std::unique_ptr<Decoder> decoder = Decoder::Create(context_, model, &device_);
    const int64_t batch = BatchFor(*decoder);
    Decode(context_, *decoder, mode, batch, std::min<int64_t>(options_.tokens, 64));  // kernels chosen, steps recorded
    Arena& arena = device_.allocator().main();
    arena.ResetPeak();
    const double seconds = Decode(context_, *decoder, mode, batch, options_.tokens);
    const double rate = static_cast<double>(batch * options_.tokens) / seconds;
    const double gib = static_cast<double>(arena.peak() + decoder->steps().bytes()) / kGiB;
    const double bound_seconds =
        (static_cast<double>(read.weights) + static_cast<double>(batch * read.caches)) / bandwidth_;
    const double bound = static_cast<double>(batch * options_.tokens) / bound_seconds;
    const std::string mode_name(photon::Name(mode));
    std::printf("%-9s%-15s%8.1f M%8ld%12.0f%10.2f%16.3f%14.0f%8.1f %%\n", name.c_str(), mode_name.c_str(),
                static_cast<double>(model.parameters().count()) / 1e6, static_cast<long>(batch), rate, gib,
                rate / 1e3 / gib, bound, 100 * rate / bound);
    std::fflush(stdout);
    results_.push_back({{"model", name},
                        {"mode", mode_name},
                        {"parameters", model.parameters().count()},
                        {"batch", batch},
                        {"seconds", seconds},
                        {"tokens_per_s", rate},
                        {"gib", gib},
                        {"ktokens_per_s_per_gib", rate / 1e3 / gib},
                        {"weight_bytes", read.weights},
                        {"cache_bytes_per_sequence", read.caches},
                        {"bound_tokens_per_s", bound},
                        {"share_of_bound", rate / bound},
                        {"steps_recorded", decoder->steps().recorded()}});
  }

  const Options options_;
  OpenedDevice& device_;
  const Context context_ = device_.MakeContext(/*profiler=*/nullptr);
  const Context counting_{context_.device(), CountingBackend::Over(context_.backend()), context_.allocator(),
                          context_.stream()};
  const double bandwidth_;
  nlohmann::json results_ = nlohmann::json::array();
};

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  photon::Options options;
  CLI::App app("Decode-heavy throughput: vanilla, hier and rec at the largest batch");
  photon::AddDeviceOption(app, &options.device);
  app.add_option("--dtype", options.dtype, "Compute type")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--configs", options.configs, "Folder of the models' configs")->capture_default_str();
  app.add_option("--size", options.size, "600m, 900m or 1.2b")->capture_default_str();
  app.add_option("--scale", options.scale, "Of the models' width")->check(CLI::Range(0.01, 1.0))->capture_default_str();
  app.add_option("--prompt", options.prompt, "Tokens in")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--tokens", options.tokens, "Tokens out")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--batch", options.batch, "Sequences; 0: as many as memory holds")->capture_default_str();
  app.add_option("--most", options.most, "At most so many")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--json", options.json, "File for the figures");
  CLI11_PARSE(app, argc, argv);
  const auto device = photon::OpenDeviceOrExit(options.device);
  photon::Bench bench(options, *device);
  bench.Run("vanilla", {photon::GenerationMode::kHier});
  bench.Run("photon", {photon::GenerationMode::kHier, photon::GenerationMode::kRec});
  return bench.Write() ? 0 : 1;
}
