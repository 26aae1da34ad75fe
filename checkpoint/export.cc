#include "checkpoint/export.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "checkpoint/manifest.h"
#include "checkpoint/model_json.h"
#include "checkpoint/store.h"
#include "checkpoint/weights.h"
#include "checkpoint/weights_progress.h"
#include "configs/model_config.h"
#include "core/file.h"
#include "core/rounding.h"

namespace photon {
namespace {

constexpr int64_t kImportedLength = 1024;  // training length of an imported model, rounded up to whole chunks

Region Whole(const Shape& shape) { return Region{std::vector<int64_t>(shape.rank(), 0), shape}; }

absl::Status CheckTensors(const std::string& in, const SafetensorsReader& reader,
                          const std::vector<NamedShape>& expected) {
  const std::string json = ModelJsonPath(in);
  for (const NamedShape& tensor : expected) {
    const SafetensorsEntry* entry = reader.Find(tensor.name);
    if (entry == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(in, " lacks tensor ", tensor.name, " ", tensor.shape.ToString(),
                                                     ", which the model of ", json, " has"));
    }
    if (!(entry->shape == tensor.shape)) {
      return absl::InvalidArgumentError(absl::StrCat(in, ": tensor ", tensor.name, " is ", entry->shape.ToString(),
                                                     "; the model of ", json, " wants ", tensor.shape.ToString()));
    }
  }
  if (reader.entries().size() == expected.size()) return absl::OkStatus();
  for (const SafetensorsEntry& entry : reader.entries()) {
    const bool known = std::any_of(expected.begin(), expected.end(),
                                   [&](const NamedShape& tensor) { return tensor.name == entry.name; });
    if (!known) {
      return absl::InvalidArgumentError(
          absl::StrCat(in, " has tensor ", entry.name, ", which the model of ", json, " has not"));
    }
  }
  return absl::InternalError("the expected tensors name one twice");
}

// A run config that describes the imported model and is otherwise all defaults.
RunConfig ImportedConfig(const ModelConfig& model) {
  RunConfig config;
  *config.mutable_model() = model;
  const int64_t unit = ChunkProduct(model);
  config.mutable_data()->set_sequence_length(RoundUp(kImportedLength, unit));
  return config;
}

// A model's shape may be replaced; any other JSON of that name belongs to something else, such as a set of token files.
absl::Status CheckReplaceable(const std::string& json) {
  const absl::StatusOr<std::string> text = ReadFile(json);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  if (ModelConfigFromJson(*text, json).ok()) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat(
      json, " exists and does not describe a model's shape, for which this name is needed: choose another --out"));
}

absl::Status AttachTokenizer(const std::string& tokenizer, CheckpointContents& contents) {
  if (tokenizer.empty()) return absl::OkStatus();
  PHOTON_ASSIGN_OR_RETURN(contents.tokenizer_bytes, ReadFile(tokenizer));
  contents.tokenizer_name = absl::StrCat("tokenizer", std::filesystem::path(tokenizer).extension().string());
  return absl::OkStatus();
}

}  // namespace

std::string ModelJsonPath(const std::string& safetensors) {
  return absl::StrCat(absl::StripSuffix(safetensors, ".safetensors"), ".json");
}

absl::Status ExportSafetensors(const std::string& checkpoint_dir, const std::string& out, bool progress) {
  PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(checkpoint_dir));
  PHOTON_RETURN_IF_ERROR(CheckReplaceable(ModelJsonPath(out)));
  PHOTON_RETURN_IF_ERROR(reader.Verify(*SelfCommunicator(), kModelSection));
  std::vector<NamedShape> tensors;
  for (const ManifestTensor& tensor : reader.manifest().tensors()) {
    if (tensor.section() == kModelSection) tensors.push_back({tensor.name(), GlobalShape(tensor)});
  }
  const std::map<std::string, std::string> metadata = {{"format", "photon"},
                                                       {"step", absl::StrCat(reader.manifest().state().step())}};
  WeightsProgress shown("export", tensors, progress);
  PHOTON_RETURN_IF_ERROR(
      WriteSafetensors(out, tensors, metadata, [&](const NamedShape& tensor, absl::Span<float> values) {
        shown.Reached(tensor.shape);
        return ReadWeight(reader, tensor.name, values);
      }));
  return WriteFile(ModelJsonPath(out), ModelConfigToJson(reader.manifest().config().model()));
}

absl::Status ImportSafetensors(const std::string& in, const std::string& checkpoint_dir, const std::string& tokenizer,
                               const ExpectedTensors& expected, bool progress) {
  std::error_code error;
  if (std::filesystem::exists(checkpoint_dir, error)) {
    return absl::FailedPreconditionError(absl::StrCat(checkpoint_dir, " exists: import into a new folder"));
  }
  PHOTON_ASSIGN_OR_RETURN(const std::string json, ReadFile(ModelJsonPath(in)));
  PHOTON_ASSIGN_OR_RETURN(const ModelConfig model, ModelConfigFromJson(json, ModelJsonPath(in)));
  PHOTON_ASSIGN_OR_RETURN(const SafetensorsReader reader, SafetensorsReader::Open(in));
  PHOTON_ASSIGN_OR_RETURN(const std::vector<NamedShape> tensors, expected(model));
  PHOTON_RETURN_IF_ERROR(CheckTensors(in, reader, tensors));

  CheckpointContents contents;
  contents.config = ImportedConfig(model);
  contents.state.set_step(0);
  PHOTON_RETURN_IF_ERROR(AttachTokenizer(tokenizer, contents));
  std::vector<std::unique_ptr<float[]>> values;
  WeightsProgress shown("import", tensors, progress);
  for (const NamedShape& tensor : tensors) {
    shown.Reached(tensor.shape);
    const int64_t elements = tensor.shape.elements();
    values.emplace_back(new float[elements]);
    PHOTON_RETURN_IF_ERROR(reader.Read(*reader.Find(tensor.name), absl::MakeSpan(values.back().get(), elements)));
    if (!std::all_of(values.back().get(), values.back().get() + elements, [](float x) { return std::isfinite(x); })) {
      return absl::InvalidArgumentError(
          absl::StrCat(in, ": ", tensor.name, " holds values that are not finite: export a model that is whole"));
    }
    contents.parts.push_back({kModelSection, tensor.name, tensor.shape, Whole(tensor.shape),
                              Tensor::Wrap(values.back().get(), tensor.shape, DType::kF32)});
  }
  return WriteCheckpoint(*SelfCommunicator(), checkpoint_dir, contents);
}

}  // namespace photon
