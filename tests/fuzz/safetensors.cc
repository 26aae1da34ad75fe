#include "checkpoint/safetensors.h"

#include <vector>

#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace photon::fuzz {

void FuzzSafetensors(absl::string_view bytes) {
  const MemoryFile file(bytes);
  const absl::StatusOr<SafetensorsReader> reader = SafetensorsReader::Open(file.path());
  if (!reader.ok()) return;
  for (const SafetensorsEntry& entry : reader->entries()) {
    std::vector<float> values(static_cast<size_t>(entry.shape.elements()));
    reader->Read(entry, absl::MakeSpan(values)).IgnoreError();
  }
}

}  // namespace photon::fuzz
