#include "checkpoint/model_json.h"

#include "tests/fuzz/targets.h"

namespace photon::fuzz {

void FuzzModelJson(absl::string_view bytes) {
  const absl::StatusOr<ModelConfig> config = ModelConfigFromJson(std::string(bytes), "fuzz");
  if (config.ok()) ModelConfigToJson(*config);
}

}  // namespace photon::fuzz
