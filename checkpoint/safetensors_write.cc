#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "core/file.h"

namespace photon {
namespace {

// Length, JSON, and spaces up to a multiple of 8, so that data is aligned in a mapped file.
std::string Header(const std::vector<NamedShape>& tensors, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const NamedShape& tensor : tensors) {
    const int64_t end = offset + tensor.shape.elements() * static_cast<int64_t>(sizeof(float));
    const std::vector<int64_t> dims(tensor.shape.dims().begin(), tensor.shape.dims().end());
    header[tensor.name] = {{"dtype", "F32"}, {"shape", dims}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string json = header.is_null() ? "{}" : header.dump();
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + json;
}

}  // namespace

absl::Status WriteSafetensors(const std::string& path, const std::vector<NamedShape>& tensors,
                              const std::map<std::string, std::string>& metadata, const SafetensorsFill& fill) {
  PHOTON_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  PHOTON_RETURN_IF_ERROR(file.Write(Header(tensors, metadata)));
  std::vector<float> values;
  for (const NamedShape& tensor : tensors) {
    values.resize(tensor.shape.elements());
    PHOTON_RETURN_IF_ERROR(fill(tensor, absl::MakeSpan(values)));
    PHOTON_RETURN_IF_ERROR(
        file.Write(absl::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float))));
  }
  return file.Publish();
}

}  // namespace photon
