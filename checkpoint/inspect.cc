#include "checkpoint/inspect.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "checkpoint/manifest.h"
#include "checkpoint/model_json.h"
#include "checkpoint/store.h"
#include "core/human.h"
#include "core/progress.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

struct Totals {
  int64_t parameters = 0;  // elements of section "model"
  int64_t tensor_bytes = 0;
  int64_t file_bytes = 0;
};

Totals Count(const Manifest& manifest) {
  Totals totals;
  for (const ManifestTensor& tensor : manifest.tensors()) {
    DType dtype = DType::kF32;
    ParseDType(tensor.dtype(), &dtype);
    const int64_t elements = GlobalShape(tensor).elements();
    totals.tensor_bytes += elements * static_cast<int64_t>(ByteSize(dtype));
    if (tensor.section() == "model") totals.parameters += elements;
  }
  for (const ManifestFile& file : manifest.files()) totals.file_bytes += file.bytes();
  return totals;
}

std::string ModelLine(const ModelConfig& model) {
  std::string line = absl::StrFormat("vocabulary %s, width %d, ffn %d, %d heads", HumanCount(model.vocab_size()),
                                     model.width(), model.ffn(), model.heads());
  if (model.has_kv_heads() && model.kv_heads() != model.heads()) {
    absl::StrAppend(&line, " (", model.kv_heads(), " for keys and values)");
  }
  if (model.levels().empty()) return absl::StrCat("vanilla, ", model.layers(), " layers, ", line);
  for (int l = 0; l < model.levels_size(); ++l) {
    const LevelConfig& level = model.levels(l);
    absl::StrAppend(&line, "\n              level ", l + 1, ": chunk ", level.chunk(), ", prefix ", level.prefix(),
                    ", ", level.encoder_layers(), " encoder and ", level.decoder_layers(), " decoder layers");
  }
  absl::StrAppend(&line, "\n              shift ", ModelConfig::Shift_Name(model.shift()), ", contents ",
                  ModelConfig::Contents_Name(model.contents()), ", encoder scope ",
                  ModelConfig::Scope_Name(model.encoder_scope()));
  return absl::StrCat("PHOTON, ", line);
}

std::string ToText(const std::string& dir, const Manifest& manifest) {
  const Totals totals = Count(manifest);
  std::string text = absl::StrCat(
      "checkpoint    ", dir, "\nformat        ", manifest.format_version(), ", written by photon ",
      manifest.photon_version(), "\nstep          ", HumanCount(manifest.state().step()), "\ntokens seen   ",
      HumanCount(manifest.state().tokens_seen()), "\nmodel         ", ModelLine(manifest.config().model()),
      "\ntokenizer     ", manifest.has_tokenizer() ? manifest.tokenizer() : "none (token ids only)", "\nparameters    ",
      HumanCount(totals.parameters), "\ntensors       ", manifest.tensors_size(), ", ", HumanBytes(totals.tensor_bytes),
      "\n");
  size_t width = 0;
  for (const ManifestTensor& tensor : manifest.tensors()) width = std::max(width, tensor.name().size());
  for (const ManifestTensor& tensor : manifest.tensors()) {
    absl::StrAppendFormat(&text, "  %-*s  %s %s, %d shard%s\n", static_cast<int>(width), tensor.name(), tensor.dtype(),
                          GlobalShape(tensor).ToString(), tensor.shards_size(), tensor.shards_size() == 1 ? "" : "s");
  }
  absl::StrAppend(&text, "files         ", manifest.files_size(), ", ", HumanBytes(totals.file_bytes), "\n");
  for (const ManifestFile& file : manifest.files()) {
    absl::StrAppendFormat(&text, "  %-28s %10s  xxh3 %s\n", file.name(), HumanBytes(file.bytes()), file.xxh3());
  }
  return text;
}

Json TensorToJson(const ManifestTensor& tensor) {
  Json shards = Json::array();
  for (const ManifestShard& shard : tensor.shards()) {
    shards.push_back({{"file", shard.file()},
                      {"dataset", shard.dataset()},
                      {"offset", std::vector<int64_t>(shard.offset().begin(), shard.offset().end())},
                      {"shape", std::vector<int64_t>(shard.shape().begin(), shard.shape().end())}});
  }
  return {{"name", tensor.name()},
          {"section", tensor.section()},
          {"dtype", tensor.dtype()},
          {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
          {"shards", std::move(shards)}};
}

std::string ToJson(const std::string& dir, const Manifest& manifest) {
  const Totals totals = Count(manifest);
  Json json = {{"checkpoint", dir},
               {"format_version", manifest.format_version()},
               {"photon_version", manifest.photon_version()},
               {"step", manifest.state().step()},
               {"tokens_seen", manifest.state().tokens_seen()},
               {"model", Json::parse(ModelConfigToJson(manifest.config().model()))},
               {"tokenizer", manifest.has_tokenizer() ? Json(manifest.tokenizer()) : Json()},
               {"parameters", totals.parameters},
               {"tensor_bytes", totals.tensor_bytes},
               {"tensors", Json::array()},
               {"files", Json::array()}};
  for (const ManifestTensor& tensor : manifest.tensors()) json["tensors"].push_back(TensorToJson(tensor));
  for (const ManifestFile& file : manifest.files()) {
    json["files"].push_back({{"name", file.name()}, {"bytes", file.bytes()}, {"xxh3", file.xxh3()}});
  }
  // Names are any bytes, as paths are.
  return json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

absl::StatusOr<std::string> InspectCheckpoint(const std::string& dir, InspectFormat format) {
  PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(dir));
  return format == InspectFormat::kJson ? ToJson(dir, reader.manifest()) : ToText(dir, reader.manifest());
}

VerifyReport VerifyCheckpoint(const std::string& dir, bool progress) {
  VerifyReport report;
  const auto line = [&](absl::string_view name, const absl::Status& status, int64_t bytes) {
    if (status.ok()) {
      absl::StrAppendFormat(&report.text, "ok   %-28s %10s\n", name, HumanBytes(bytes));
    } else {
      absl::StrAppend(&report.text, "BAD  ", name, "  ", status.message(), "\n");
      if (report.status.ok()) report.status = status;
    }
  };
  const absl::StatusOr<CheckpointReader> reader = CheckpointReader::Open(dir);
  line(kManifestName, reader.status(), reader.ok() ? ManifestToText(reader->manifest()).size() : 0);
  if (!reader.ok()) return report;
  int64_t done = 0, total = 0;
  for (const ManifestFile& file : reader->manifest().files()) total += file.bytes();
  ProgressLine shown("verify", progress);
  const auto read = [&](int64_t bytes) { shown.Update(done += bytes, total); };
  for (const ManifestFile& file : reader->manifest().files()) {
    line(file.name(), reader->VerifyFile(file, read), file.bytes());
  }
  return report;
}

}  // namespace photon
