#include "configs/config.h"
#include "configs/layout.h"
#include "tests/fuzz/targets.h"

namespace photon::fuzz {

void FuzzRunConfig(absl::string_view bytes) {
  const absl::StatusOr<RunConfig> config = ParseRunConfig(std::string(bytes), "fuzz");
  if (!config.ok()) return;
  for (const int ranks : {1, 8}) {
    const bool valid = ValidateRun(*config, ranks).ok();
    if (!valid) continue;
    ToText(Resolved(*config, ranks));
  }
}

}  // namespace photon::fuzz
