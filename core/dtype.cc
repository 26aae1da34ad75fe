#include "core/dtype.h"

namespace photon {
namespace {

struct Entry {
  DType dtype;
  size_t bytes;
  absl::string_view name;
};
constexpr Entry kEntries[] = {{DType::kF64, 8, "f64"}, {DType::kF32, 4, "f32"}, {DType::kBF16, 2, "bf16"},
                              {DType::kI64, 8, "i64"}, {DType::kI32, 4, "i32"}, {DType::kU16, 2, "u16"},
                              {DType::kU8, 1, "u8"}};

}  // namespace

size_t ByteSize(DType dtype) { return kEntries[static_cast<int>(dtype)].bytes; }

absl::string_view Name(DType dtype) { return kEntries[static_cast<int>(dtype)].name; }

bool ParseDType(absl::string_view name, DType* dtype) {
  for (const Entry& entry : kEntries) {
    if (entry.name == name) {
      *dtype = entry.dtype;
      return true;
    }
  }
  return false;
}

}  // namespace photon
