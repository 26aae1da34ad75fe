#include "configs/config.h"
#include "tests/fuzz/targets.h"

namespace photon::fuzz {

void FuzzConfigOverride(absl::string_view bytes) {
  RunConfig config;
  config.mutable_model()->add_levels();
  ApplyOverride(bytes, &config).IgnoreError();
}

}  // namespace photon::fuzz
