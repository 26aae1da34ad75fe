// The GGUF format, version 3 (ggml's docs/gguf.md): header, metadata, tensor descriptions, padding, tensor data.
// Little-endian. A file appears as a whole: temporary name, flush, rename.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/dtype.h"
#include "core/shape.h"
#include "core/status.h"

namespace photon {

// Data of every tensor begins at a multiple of this; the format's default.
inline constexpr int64_t kGgufAlignment = 32;

// Typed key-value pairs, in the order in which they are added. Keys are "lower_snake.case" ASCII.
class GgufMetadata {
 public:
  void AddU32(absl::string_view key, uint32_t value);
  void AddF32(absl::string_view key, float value);
  void AddBool(absl::string_view key, bool value);
  void AddString(absl::string_view key, absl::string_view value);
  void AddF32s(absl::string_view key, absl::Span<const float> values);
  void AddI32s(absl::string_view key, absl::Span<const int32_t> values);
  void AddStrings(absl::string_view key, absl::Span<const std::string> values);

  int64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void AddKey(absl::string_view key, uint32_t type);
  void AddArray(absl::string_view key, uint32_t type, size_t length);

  int64_t count_ = 0;
  std::string bytes_;
};

struct GgufTensor {
  std::string name;  // at most 63 bytes
  Shape shape;       // row-major, last dimension contiguous; the file lists dimensions the other way round
  DType dtype;       // f32 or bf16
};

// Writes tensors in the order given. `fill` provides one at a time as f32 (bf16 is rounded to nearest), so that only
// one is in memory.
using GgufFill = std::function<absl::Status(size_t index, absl::Span<float> out)>;
absl::Status WriteGguf(const std::string& path, const GgufMetadata& metadata, const std::vector<GgufTensor>& tensors,
                       const GgufFill& fill);

}  // namespace photon
