#include "inference/server/completion_request.h"

#include "inference/server/json_fields.h"
#include "tests/fuzz/targets.h"

namespace photon::fuzz {

void FuzzCompletionRequest(absl::string_view bytes) {
  const auto parsed = ParseCompletionRequest(bytes);
  if (const auto* error = std::get_if<ApiError>(&parsed)) ErrorResponse(*error);
}

}  // namespace photon::fuzz
