// photon checkpoint inspect | verify | export | import
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/export.h"
#include "checkpoint/gguf_export.h"
#include "checkpoint/inspect.h"
#include "checkpoint/store.h"
#include "configs/config.h"
#include "configs/model_config.h"
#include "launch/commands.h"
#include "launch/gguf_vocabulary.h"
#include "launch/model_options.h"
#include "model/language_model.h"

namespace photon {
namespace {

struct CheckpointArguments {
  std::string checkpoint;
  bool json = false, config = false;  // inspect
  std::string format = "safetensors", dtype;
  std::string in, out, tokenizer;  // import, export; tokenizer is a file or, of export, empty or "none"
};
using Arguments = std::shared_ptr<CheckpointArguments>;

absl::Status Inspect(const CheckpointArguments& arguments) {
  PHOTON_ASSIGN_OR_RETURN(const std::string dir, ResolveCheckpoint(arguments.checkpoint));
  if (arguments.config) {
    PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(dir));
    std::cout << ToText(reader.manifest().config());
    return absl::OkStatus();
  }
  PHOTON_ASSIGN_OR_RETURN(const std::string text,
                          InspectCheckpoint(dir, arguments.json ? InspectFormat::kJson : InspectFormat::kText));
  std::cout << text;
  return absl::OkStatus();
}

absl::Status Verify(const CheckpointArguments& arguments) {
  PHOTON_ASSIGN_OR_RETURN(const std::string dir, ResolveCheckpoint(arguments.checkpoint));
  const VerifyReport report = VerifyCheckpoint(dir, /*progress=*/true);
  std::cout << report.text;
  return report.status;
}

absl::Status ExportAsGguf(const CheckpointArguments& arguments, const std::string& dir) {
  PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(dir));
  // First: no choice of a tokenizer helps a model that can't be exported.
  PHOTON_RETURN_IF_ERROR(CheckGgufModel(reader.manifest().config().model(), dir));
  GgufVocabulary vocabulary;
  if (arguments.tokenizer != "none" && !reader.manifest().tokenizer().empty()) {
    PHOTON_ASSIGN_OR_RETURN(std::string bytes, reader.ReadTokenizer());
    PHOTON_ASSIGN_OR_RETURN(vocabulary, GgufVocabularyOf(bytes, absl::StrCat(dir, "/", reader.manifest().tokenizer())));
  }
  const DType dtype = arguments.dtype == "f32" ? DType::kF32 : DType::kBF16;
  PHOTON_RETURN_IF_ERROR(ExportGguf(dir, arguments.out, dtype, vocabulary, /*progress=*/true));
  std::cout << "wrote " << arguments.out
            << (vocabulary.model == "none" ? ", without a tokenizer: token ids only\n" : "\n");
  return absl::OkStatus();
}

absl::Status Export(const CheckpointArguments& arguments) {
  PHOTON_ASSIGN_OR_RETURN(const std::string dir, ResolveCheckpoint(arguments.checkpoint));
  if (arguments.format == "gguf") return ExportAsGguf(arguments, dir);
  if (arguments.dtype == "bf16") {
    return absl::InvalidArgumentError("--dtype bf16 is for --format gguf: safetensors holds the f32 weights");
  }
  if (!arguments.tokenizer.empty()) {
    return absl::InvalidArgumentError("--tokenizer none is for --format gguf: safetensors holds no tokenizer");
  }
  PHOTON_RETURN_IF_ERROR(ExportSafetensors(dir, arguments.out, /*progress=*/true));
  std::cout << "wrote " << arguments.out << " and " << ModelJsonPath(arguments.out) << "\n";
  return absl::OkStatus();
}

absl::StatusOr<std::vector<NamedShape>> TensorsOf(const ModelConfig& config) {
  PHOTON_RETURN_IF_ERROR(ValidateModel(config));
  std::vector<NamedShape> tensors;
  const std::unique_ptr<LanguageModel> model = LanguageModel::Create(config);
  for (const auto& parameter : model->parameters().parameters()) {
    tensors.push_back({parameter->spec.name, parameter->spec.shape});
  }
  return tensors;
}

absl::Status Import(const CheckpointArguments& arguments) {
  PHOTON_RETURN_IF_ERROR(
      ImportSafetensors(arguments.in, arguments.checkpoint, arguments.tokenizer, TensorsOf, /*progress=*/true));
  std::cout << "wrote " << arguments.checkpoint << "\n";
  return absl::OkStatus();
}

void AddExport(CLI::App& group, const Arguments& a, Run* chosen) {
  CLI::App& command =
      *AddCommand(group, "export", "Write the weights for other programs: F.safetensors and F.json, or F.gguf", chosen,
                  [a] { return Export(*a); });
  AddCheckpointOption(command, &a->checkpoint);
  command.add_option("--format", a->format, "File format")
      ->check(CLI::IsMember({"safetensors", "gguf"}))
      ->capture_default_str();
  command
      .add_option("--dtype", a->dtype, "Type of the matrices: bf16 (the default for gguf) or f32 (safetensors always)")
      ->check(CLI::IsMember({"bf16", "f32"}));
  command
      .add_option("--tokenizer", a->tokenizer,
                  "none: leave the tokenizer out of a gguf, which then takes token ids only")
      ->check(CLI::IsMember({"none"}));
  command.add_option("--out", a->out, "F.safetensors or F.gguf")->required();
}

void AddImport(CLI::App& group, const Arguments& a, Run* chosen) {
  CLI::App& command = *AddCommand(group, "import", "Make a checkpoint of F.safetensors and the F.json beside it",
                                  chosen, [a] { return Import(*a); });
  command.add_option("--in", a->in, "F.safetensors")->required();
  command.add_option("--checkpoint", a->checkpoint, "The new checkpoint's folder")->required();
  command.add_option("--tokenizer", a->tokenizer,
                     "A tokenizer for the checkpoint to carry (without one: token ids only)");
}

}  // namespace

void AddCheckpointCommands(CLI::App& app, Run* chosen) {
  CLI::App& group = *app.add_subcommand("checkpoint", "Look into, check and convert checkpoints");
  group.require_subcommand(1);
  const auto a = std::make_shared<CheckpointArguments>();

  CLI::App& inspect =
      *AddCommand(group, "inspect", "Print what a checkpoint holds", chosen, [a] { return Inspect(*a); });
  AddCheckpointOption(inspect, &a->checkpoint);
  CLI::Option* json = inspect.add_flag("--json", a->json, "Print it as JSON");
  inspect.add_flag("--config", a->config, "Print the run's config instead")->excludes(json);

  CLI::App& verify =
      *AddCommand(group, "verify", "Read every file and compare its checksum", chosen, [a] { return Verify(*a); });
  AddCheckpointOption(verify, &a->checkpoint);

  AddExport(group, a, chosen);
  AddImport(group, a, chosen);
}

}  // namespace photon
