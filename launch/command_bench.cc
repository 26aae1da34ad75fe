// photon bench paper
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "configs/config.h"
#include "core/status.h"
#include "inference/loaded_model.h"
#include "inference/protocol/protocol.h"
#include "launch/bench_report.h"
#include "launch/commands.h"
#include "launch/model_options.h"
#include "launch/wanted_file.h"

namespace photon {
namespace {

struct PaperArguments {
  std::string device, dtype = "bf16", configs = "configs", checkpoint, json, plot;
  std::vector<std::string> models, shapes = {"PF", "DE"}, modes = {"hier", "hier-parallel", "rec"};
  std::vector<int64_t> batches;
  std::string scale = "full";
  int64_t most = 4096, tokens = 2048;
};

// What --scale names: the width in parts of the paper's.
absl::StatusOr<double> ScaleOf(const std::string& text) {
  if (text == "full") return 1.0;
  if (text == "small") return 0.125;
  double scale = 0;
  if (absl::SimpleAtod(text, &scale) && scale > 0 && scale <= 1) return scale;
  return absl::InvalidArgumentError(absl::StrCat("--scale ", text, ": give full, small or a number up to 1"));
}

// With so many times the heads, of the same size, and the feed-forward width.
ModelConfig Scaled(ModelConfig model, double scale) {
  if (scale == 1) return model;
  const int head_dim = model.width() / model.heads();
  const int heads = std::max(4, static_cast<int>(model.heads() * scale) / 4 * 4);
  model.set_ffn(std::max(64, static_cast<int>(model.ffn() * scale) / 64 * 64));
  model.set_heads(heads);
  model.clear_kv_heads();
  model.set_width(heads * head_dim);
  return model;
}

std::vector<std::string> NineModels() {
  std::vector<std::string> names;
  for (const char* size : {"600m", "900m", "1.2b"}) {
    for (const char* kind : {"vanilla", "block", "photon"}) names.push_back(absl::StrCat(kind, "-", size));
  }
  return names;
}

class PaperBench {
 public:
  PaperBench(const PaperArguments& arguments, OpenedDevice& device)
      : arguments_(arguments), device_(device), protocol_(device, ComputeType(arguments.dtype)) {}

  absl::Status Run() {
    std::cout << DescribeCeilings(device_.Description(), arguments_.dtype, protocol_.ceilings()) << PaperHeader()
              << std::flush;
    if (!arguments_.checkpoint.empty()) {
      PHOTON_ASSIGN_OR_RETURN(const auto loaded,
                              LoadedModel::Load(arguments_.checkpoint, ComputeType(arguments_.dtype), device_));
      return RunModel(arguments_.checkpoint, loaded->model());
    }
    PHOTON_ASSIGN_OR_RETURN(const double scale, ScaleOf(arguments_.scale));
    for (const std::string& name : arguments_.models.empty() ? NineModels() : arguments_.models) {
      PHOTON_ASSIGN_OR_RETURN(const RunConfig config,
                              LoadRunConfig(absl::StrCat(arguments_.configs, "/", name, ".textproto"), {}));
      PHOTON_RETURN_IF_ERROR(RunConfigs(name, Scaled(config.model(), scale)));
    }
    return absl::OkStatus();
  }

  const std::vector<PaperRow>& rows() const { return rows_; }
  const Ceilings& ceilings() const { return protocol_.ceilings(); }

 private:
  absl::Status RunConfigs(const std::string& name, ModelConfig config) {
    PHOTON_RETURN_IF_ERROR(RunRandom(name, config));
    if (config.levels_size() < 2) return absl::OkStatus();
    config.set_encoder_scope(ModelConfig::GROUP);
    return RunRandom(name + "-group", config);
  }

  absl::Status RunRandom(const std::string& name, const ModelConfig& config) {
    const std::unique_ptr<LanguageModel> model = LanguageModel::Create(config);
    ParameterSet::Options parameters;
    parameters.compute = ComputeType(arguments_.dtype);
    parameters.gradients = false;
    model->parameters().Allocate(protocol_.context(), parameters);
    model->parameters().Initialize(protocol_.context(), /*seed=*/1);
    return RunModel(name, *model);
  }

  absl::Status RunModel(const std::string& name, const LanguageModel& model) {
    for (const std::string& mode_name : arguments_.modes) {
      PHOTON_ASSIGN_OR_RETURN(const GenerationMode mode, ParseGenerationMode(mode_name));
      const bool same_as_hier = mode != GenerationMode::kHier && !ByMetaContexts(model.levels(), mode);
      const bool group = model.config().encoder_scope() == ModelConfig::GROUP;
      if (same_as_hier || (group && mode != GenerationMode::kHier)) continue;
      PHOTON_RETURN_IF_ERROR(CheckMode(model.config(), mode));
      for (const std::string& shape_name : arguments_.shapes) {
        const ProtocolShape shape = shape_name == "PF" ? ProtocolShape{"PF", arguments_.tokens, arguments_.tokens / 16}
                                                       : ProtocolShape{"DE", arguments_.tokens / 16, arguments_.tokens};
        std::vector<int64_t> batches = arguments_.batches;
        if (batches.empty()) batches = {1, protocol_.LargestBatch(model, mode, shape, arguments_.most)};
        rows_.push_back({.model = name,
                         .mode = mode,
                         .shape = shape,
                         .parameters = model.parameters().count(),
                         .full_size = arguments_.scale == "full" && arguments_.tokens == 2048,
                         .result = protocol_.Run(model, mode, shape, batches)});
        std::cout << DescribeRow(rows_.back()) << std::flush;
      }
    }
    return absl::OkStatus();
  }

  const PaperArguments& arguments_;
  OpenedDevice& device_;
  Protocol protocol_;
  std::vector<PaperRow> rows_;
};

absl::Status RunPaper(PaperArguments arguments) {
  std::sort(arguments.batches.begin(), arguments.batches.end());
  if (!arguments.batches.empty() &&
      (arguments.batches.size() < 2 || arguments.batches.front() == arguments.batches.back())) {
    return absl::InvalidArgumentError("--batches: give two different ones at least: memory is a difference");
  }
  PHOTON_ASSIGN_OR_RETURN(WantedFile json, WantedFile::Open(arguments.json));
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<OpenedDevice> device, OpenDevice(arguments.device, /*check=*/false));
  PaperBench bench(arguments, *device);
  PHOTON_RETURN_IF_ERROR(bench.Run());
  std::cout << CompareKinds(bench.rows());
  PHOTON_RETURN_IF_ERROR(json.Put(ToJson(bench.rows(), device->Description(), arguments.dtype, bench.ceilings())));
  return arguments.plot.empty() ? absl::OkStatus() : DrawRows(arguments.plot, bench.rows());
}

}  // namespace

void AddBenchCommands(CLI::App& app, Run* chosen) {
  CLI::App& bench = *app.add_subcommand("bench", "Measure generation");
  bench.require_subcommand(1);
  const auto a = std::make_shared<PaperArguments>();
  CLI::App& command =
      *AddCommand(bench, "paper",
                  "The paper's efficiency protocol: memory of a sequence, tokens a second, and thousands of tokens a "
                  "second and GiB (TPM), beside the roofline and the paper's figures",
                  chosen, [a] { return RunPaper(*a); });
  command.add_option("--models", a->models, "Presets by name, as in photon-600m; default: the paper's nine");
  command.add_option("--checkpoint", a->checkpoint, "A run folder or checkpoint folder instead");
  command.add_option("--configs", a->configs, "Folder of the presets")->capture_default_str();
  command.add_option("--scale", a->scale, "Width of the presets: full, small (an eighth) or a number up to 1")
      ->capture_default_str();
  command.add_option("--shapes", a->shapes, "PF: prefill-heavy, 2048 in, 128 out; DE: decode-heavy, 128 in, 2048 out")
      ->check(CLI::IsMember({"PF", "DE"}))
      ->capture_default_str();
  command.add_option("--tokens", a->tokens, "Of the longer side, for shorter runs; the other has a sixteenth")
      ->check(AtLeast(32))
      ->capture_default_str();
  command.add_option("--modes", a->modes, "Of models with two levels and more")
      ->check(CLI::IsMember({"hier", "hier-parallel", "rec"}))
      ->capture_default_str();
  command.add_option("--batches", a->batches, "Sequences at once, two numbers or more; default: 1 and what fits")
      ->check(AtLeast(1));
  command.add_option("--most", a->most, "Sequences at the most where memory would hold more")
      ->check(AtLeast(2))
      ->capture_default_str();
  command.add_option("--dtype", a->dtype, "Type of matrix products and states")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  AddDeviceOption(command, &a->device);
  command.add_option("--json", a->json, "Also write everything to this file");
  command.add_option("--plot", a->plot, "FILE.png: TPM of ours beside the paper's (needs gnuplot)");
}

}  // namespace photon
