// photon bench paper
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "configs/config.h"
#include "configs/nearest.h"
#include "core/progress.h"
#include "core/status.h"
#include "inference/loaded_model.h"
#include "inference/protocol/protocol.h"
#include "launch/bench_report.h"
#include "launch/commands.h"
#include "launch/model_options.h"
#include "launch/other_work.h"
#include "launch/wanted_file.h"
#include "launch/wanted_picture.h"

namespace photon {
namespace {

constexpr int64_t kPaperTokens = 2048;
constexpr int64_t kMostOfOptions = std::numeric_limits<int32_t>::max();

struct PaperArguments {
  std::string device, dtype = "bf16", configs = "configs", checkpoint, json, plot;
  std::vector<std::string> models, shapes = {"PF", "DE"}, modes = {"hier", "hier-parallel", "rec"};
  std::vector<int64_t> batches;
  std::string scale = "full";
  std::optional<int64_t> most_sequences, longer_side;

  // `small` is for a first look: all models in minutes on two cores.
  bool small() const { return scale == "small"; }
  int64_t most() const { return most_sequences.value_or(small() ? 32 : 4096); }
  int64_t tokens() const { return longer_side.value_or(small() ? 256 : kPaperTokens); }
  std::vector<ProtocolShape> protocol_shapes() const {
    std::vector<ProtocolShape> wanted;
    for (const std::string& name : shapes) {
      const int64_t longer = tokens(), shorter = longer / 16;
      wanted.push_back(name == "PF" ? ProtocolShape{name, longer, shorter} : ProtocolShape{name, shorter, longer});
    }
    return wanted;
  }
};

// A model to be measured, in these modes.
struct Subject {
  std::string name;
  ModelConfig config;
  std::vector<GenerationMode> modes;
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

// Those of --modes that the model has. A model of fewer than two levels has one, whatever is asked.
absl::StatusOr<std::vector<GenerationMode>> ModesOf(const PaperArguments& arguments, const ModelConfig& config) {
  std::vector<GenerationMode> modes = DistinctModes(config);
  if (config.levels_size() < 2) return modes;
  const std::vector<std::string>& asked = arguments.modes;
  std::erase_if(modes,
                [&](GenerationMode mode) { return std::find(asked.begin(), asked.end(), Name(mode)) == asked.end(); });
  if (!modes.empty()) return modes;
  PHOTON_ASSIGN_OR_RETURN(const GenerationMode missing, ParseGenerationMode(asked[0]));
  return CheckMode(config, missing);
}

// The configuration of preset `name`.
absl::StatusOr<RunConfig> Preset(const std::string& folder, const std::string& name) {
  const std::filesystem::path path = std::filesystem::path(folder) / (name + ".textproto");
  std::error_code error;
  if (std::filesystem::exists(path, error)) return LoadRunConfig(path, {});
  std::vector<std::string> known;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".textproto") known.push_back(entry.path().stem());
  }
  std::sort(known.begin(), known.end());
  return absl::NotFoundError(
      absl::StrCat("--models ", name, ": there is no ", path.string(),
                   known.empty() ? "; --configs names the presets' folder" : DidYouMean(name, known)));
}

// The presets, all read and judged before any is measured. Those with two levels also as encoder_scope: GROUP, by hier:
// it bounds the caches of lower encoders, of which rec holds none anyway.
absl::StatusOr<std::vector<Subject>> Presets(const PaperArguments& arguments) {
  PHOTON_ASSIGN_OR_RETURN(const double scale, ScaleOf(arguments.scale));
  std::vector<Subject> presets;
  for (const std::string& name : arguments.models.empty() ? NineModels() : arguments.models) {
    PHOTON_ASSIGN_OR_RETURN(const RunConfig read, Preset(arguments.configs, name));
    ModelConfig config = Scaled(read.model(), scale);
    PHOTON_ASSIGN_OR_RETURN(const std::vector<GenerationMode> modes, ModesOf(arguments, config));
    presets.push_back({name, config, modes});
    if (config.levels_size() < 2 || modes[0] != GenerationMode::kHier) continue;
    config.set_encoder_scope(ModelConfig::GROUP);
    presets.push_back({name + "-group", config, {GenerationMode::kHier}});
  }
  return presets;
}

class PaperBench {
 public:
  PaperBench(const PaperArguments& arguments, OpenedDevice& device, WantedFile* json)
      : arguments_(arguments), device_(device), json_(json), protocol_(device, ComputeType(arguments.dtype)) {}

  absl::Status Run(const std::vector<Subject>& presets) {
    std::cout << PaperHeader(device_.Description(), arguments_.dtype, shapes_) << std::flush;
    if (!arguments_.checkpoint.empty()) return RunCheckpoint();
    for (const Subject& preset : presets) total_ += static_cast<int64_t>(preset.modes.size() * shapes_.size());
    for (const Subject& preset : presets) PHOTON_RETURN_IF_ERROR(RunRandom(preset));
    return absl::OkStatus();
  }

  const std::vector<PaperRow>& rows() const { return rows_; }

 private:
  absl::Status RunCheckpoint() {
    PHOTON_ASSIGN_OR_RETURN(const auto loaded,
                            LoadedModel::Load(arguments_.checkpoint, ComputeType(arguments_.dtype), device_));
    const ModelConfig& config = loaded->model().config();
    PHOTON_ASSIGN_OR_RETURN(const std::vector<GenerationMode> modes, ModesOf(arguments_, config));
    total_ = static_cast<int64_t>(modes.size() * shapes_.size());
    return RunModel({arguments_.checkpoint, config, modes}, loaded->model());
  }

  absl::Status RunRandom(const Subject& subject) {
    const std::unique_ptr<LanguageModel> model = LanguageModel::Create(subject.config);
    ParameterSet::Options parameters;
    parameters.compute = ComputeType(arguments_.dtype);
    parameters.gradients = false;
    model->parameters().Allocate(protocol_.context(), parameters);
    model->parameters().Initialize(protocol_.context(), /*seed=*/1);
    return RunModel(subject, *model);
  }

  // What was measured is kept at once: hours of it may lie before whatever ends the program.
  absl::Status RunModel(const Subject& subject, const LanguageModel& model) {
    for (const GenerationMode mode : subject.modes) {
      for (const ProtocolShape& shape : shapes_) {
        std::vector<int64_t> batches = arguments_.batches;
        if (batches.empty()) batches = {1, protocol_.LargestBatch(model, mode, shape, arguments_.most())};
        PHOTON_ASSIGN_OR_RETURN(const ProtocolResult result, protocol_.Run(model, mode, shape, batches));
        rows_.push_back({.model = subject.name,
                         .mode = mode,
                         .shape = shape,
                         .parameters = model.parameters().count(),
                         .full_size = *ScaleOf(arguments_.scale) == 1 && arguments_.tokens() == kPaperTokens,
                         .result = result});
        progress_.Clear();
        std::cout << DescribeRow(rows_.back()) << std::flush;
        const auto done = static_cast<int64_t>(rows_.size());
        if (done < total_) progress_.Update(done, total_);
        PHOTON_RETURN_IF_ERROR(
            json_->Put(ToJson(rows_, device_.Description(), arguments_.dtype, /*complete=*/done == total_)));
      }
    }
    return absl::OkStatus();
  }

  const PaperArguments& arguments_;
  const std::vector<ProtocolShape> shapes_ = arguments_.protocol_shapes();
  OpenedDevice& device_;
  WantedFile* const json_;
  Protocol protocol_;
  ProgressLine progress_{"bench paper", /*shown=*/true, 0, ProgressLine::Unit::kThings};
  int64_t total_ = 0;  // rows, once all is measured
  std::vector<PaperRow> rows_;
};

absl::Status RunPaper(PaperArguments arguments) {
  std::sort(arguments.batches.begin(), arguments.batches.end());
  if (!arguments.batches.empty() &&
      (arguments.batches.size() < 2 || arguments.batches.front() == arguments.batches.back())) {
    return absl::InvalidArgumentError("--batches: give two different ones at least: memory is a difference");
  }
  std::vector<Subject> presets;
  if (arguments.checkpoint.empty()) {
    PHOTON_ASSIGN_OR_RETURN(presets, Presets(arguments));
  }
  PHOTON_ASSIGN_OR_RETURN(WantedFile json, WantedFile::Open(arguments.json));
  PHOTON_ASSIGN_OR_RETURN(const WantedPicture picture, WantedPicture::Open(arguments.plot));
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<OpenedDevice> device, OpenDevice(arguments.device, /*check=*/false));
  WarnOfOtherWork();
  PaperBench bench(arguments, *device, &json);
  PHOTON_RETURN_IF_ERROR(bench.Run(presets));
  std::cout << CompareKinds(bench.rows());
  return DrawRows(bench.rows(), picture);
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
  CLI::Option* checkpoint =
      command.add_option("--checkpoint", a->checkpoint, "A run folder or checkpoint folder instead of presets");
  command.add_option("--models", a->models, "Presets by name, as in photon-600m; default: the paper's nine")
      ->excludes(checkpoint);
  command.add_option("--configs", a->configs, "Folder of the presets")->capture_default_str();
  command
      .add_option(
          "--scale", a->scale,
          "Width of the presets: full, small (an eighth, and less to do: minutes on two cores) or a number up to 1")
      ->capture_default_str();
  command.add_option("--shapes", a->shapes, "PF: prefill-heavy, 2048 in, 128 out; DE: decode-heavy, 128 in, 2048 out")
      ->check(CLI::IsMember({"PF", "DE"}))
      ->capture_default_str();
  command
      .add_option(
          "--tokens", a->longer_side,
          "Of the longer side, for shorter runs; the other has a sixteenth. Default: 2048; with --scale small 256")
      ->check(Between(32, kMostOfOptions));
  command.add_option("--modes", a->modes, "Of models with two levels and more")
      ->check(CLI::IsMember({"hier", "hier-parallel", "rec"}))
      ->capture_default_str();
  command.add_option("--batches", a->batches, "Sequences at once, two numbers or more; default: 1 and what fits")
      ->check(Between(1, kMostOfOptions));
  command
      .add_option("--most", a->most_sequences,
                  "Sequences at the most where memory would hold more. Default: 4096; with --scale small 32")
      ->check(Between(2, kMostOfOptions));
  command.add_option("--dtype", a->dtype, "Type of matrix products and states")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  AddDeviceOptions(command, &a->device);
  command.add_option("--json", a->json, "Also write everything to this file");
  command.add_option("--plot", a->plot, "FILE.png or .svg: TPM of ours beside the paper's (needs gnuplot)");
}

}  // namespace photon
