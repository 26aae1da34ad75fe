// The safetensors format: 8 bytes little-endian length, a JSON header, tensor data back to back.
//
// Reading checks everything that the header claims before a byte of data is used: lengths, offsets, holes, overlaps,
// shapes. Written files hold f32 only and are replaced as a whole: temporary name, flush, rename.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/shape.h"
#include "core/status.h"

namespace photon {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // "F32", "BF16", ..
  Shape shape;
  int64_t begin = 0;  // bytes, from the start of the data
  int64_t end = 0;
};

class SafetensorsReader {
 public:
  // kNotFound, or kInvalidArgument with the file's name and what is wrong with it.
  static absl::StatusOr<SafetensorsReader> Open(const std::string& path);

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in the order of their data
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const SafetensorsEntry* Find(absl::string_view name) const;

  // Reads F32, F64, F16 or BF16 as f32. `out` holds the tensor's elements.
  absl::Status Read(const SafetensorsEntry& entry, absl::Span<float> out) const;

 private:
  std::string path_;
  std::shared_ptr<const int> file_;  // closes with the last copy
  int64_t data_ = 0;                 // offset of the data in the file
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

struct NamedShape {
  std::string name;
  Shape shape;
};

// Writes f32 tensors in the order given; `fill` provides one at a time, so that only one is in memory.
using SafetensorsFill = std::function<absl::Status(const NamedShape& tensor, absl::Span<float> out)>;
absl::Status WriteSafetensors(const std::string& path, const std::vector<NamedShape>& tensors,
                              const std::map<std::string, std::string>& metadata, const SafetensorsFill& fill);

}  // namespace photon
