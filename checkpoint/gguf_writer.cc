#include "checkpoint/gguf_writer.h"

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/file.h"

namespace photon {
namespace {

// enum gguf_type and enum ggml_type.
enum ValueType : uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9 };
enum TensorType : uint32_t { kTensorF32 = 0, kTensorBF16 = 30 };

constexpr uint32_t kVersion = 3;
constexpr size_t kLongestName = 63;  // GGML_MAX_NAME less its final zero

template <typename T>
void Append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}
void AppendString(std::string& out, absl::string_view value) {
  Append<uint64_t>(out, value.size());
  out.append(value.data(), value.size());
}

int64_t Padding(int64_t bytes) { return (kGgufAlignment - bytes % kGgufAlignment) % kGgufAlignment; }

int64_t DataBytes(const GgufTensor& tensor) {
  return tensor.shape.elements() * static_cast<int64_t>(ByteSize(tensor.dtype));
}

std::string Header(const GgufMetadata& metadata, const std::vector<GgufTensor>& tensors) {
  std::string header = "GGUF";
  Append<uint32_t>(header, kVersion);
  Append<uint64_t>(header, tensors.size());
  Append<uint64_t>(header, metadata.count());
  header += metadata.bytes();
  int64_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    PHOTON_CHECK(tensor.dtype == DType::kF32 || tensor.dtype == DType::kBF16) << Name(tensor.dtype);
    PHOTON_CHECK(tensor.name.size() <= kLongestName) << tensor.name;
    AppendString(header, tensor.name);
    Append<uint32_t>(header, tensor.shape.rank());
    for (int d = tensor.shape.rank() - 1; d >= 0; --d) Append<uint64_t>(header, tensor.shape[d]);
    Append<uint32_t>(header, tensor.dtype == DType::kF32 ? kTensorF32 : kTensorBF16);
    Append<uint64_t>(header, offset);
    offset += DataBytes(tensor) + Padding(DataBytes(tensor));
  }
  header.append(Padding(header.size()), '\0');
  return header;
}

absl::string_view BytesOf(const void* data, int64_t size) { return {static_cast<const char*>(data), size_t(size)}; }

}  // namespace

void GgufMetadata::AddKey(absl::string_view key, uint32_t type) {
  ++count_;
  AppendString(bytes_, key);
  Append(bytes_, type);
}
void GgufMetadata::AddArray(absl::string_view key, uint32_t type, size_t length) {
  AddKey(key, kArray);
  Append(bytes_, type);
  Append<uint64_t>(bytes_, length);
}
void GgufMetadata::AddU32(absl::string_view key, uint32_t value) {
  AddKey(key, kU32);
  Append(bytes_, value);
}
void GgufMetadata::AddF32(absl::string_view key, float value) {
  AddKey(key, kF32);
  Append(bytes_, value);
}
void GgufMetadata::AddBool(absl::string_view key, bool value) {
  AddKey(key, kBool);
  Append<uint8_t>(bytes_, value ? 1 : 0);
}
void GgufMetadata::AddString(absl::string_view key, absl::string_view value) {
  AddKey(key, kString);
  AppendString(bytes_, value);
}
void GgufMetadata::AddF32s(absl::string_view key, absl::Span<const float> values) {
  AddArray(key, kF32, values.size());
  for (float value : values) Append(bytes_, value);
}
void GgufMetadata::AddI32s(absl::string_view key, absl::Span<const int32_t> values) {
  AddArray(key, kI32, values.size());
  for (int32_t value : values) Append(bytes_, value);
}
void GgufMetadata::AddStrings(absl::string_view key, absl::Span<const std::string> values) {
  AddArray(key, kString, values.size());
  for (const std::string& value : values) AppendString(bytes_, value);
}

absl::Status WriteGguf(const std::string& path, const GgufMetadata& metadata, const std::vector<GgufTensor>& tensors,
                       const GgufFill& fill) {
  PHOTON_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  PHOTON_RETURN_IF_ERROR(file.Write(Header(metadata, tensors)));
  std::vector<float> values;
  std::vector<BFloat16> rounded;
  for (size_t i = 0; i < tensors.size(); ++i) {
    values.resize(tensors[i].shape.elements());
    PHOTON_RETURN_IF_ERROR(fill(i, absl::MakeSpan(values)));
    const void* data = values.data();
    if (tensors[i].dtype == DType::kBF16) {
      rounded.clear();
      for (float value : values) rounded.emplace_back(value);
      data = rounded.data();
    }
    const int64_t bytes = DataBytes(tensors[i]);
    PHOTON_RETURN_IF_ERROR(file.Write(BytesOf(data, bytes)));
    PHOTON_RETURN_IF_ERROR(file.Write(std::string(Padding(bytes), '\0')));
  }
  return file.Publish();
}

}  // namespace photon
