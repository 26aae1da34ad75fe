#include "launch/json_lines.h"

#include "core/check.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace photon::fuzz {

void FuzzJsonLines(absl::string_view bytes) {
  const MemoryFile file(bytes);
  absl::StatusOr<JsonLines> lines = JsonLines::Open(file.path());
  PHOTON_CHECK(lines.ok()) << lines.status();
  // An error is one line's: the next may be asked for.
  for (;;) {
    JsonLine line;
    const absl::StatusOr<bool> more = lines->Next(&line);
    if (!more.ok()) continue;
    if (!*more) break;
    line.id.dump();  // it is written into what answers the line
  }
}

}  // namespace photon::fuzz
