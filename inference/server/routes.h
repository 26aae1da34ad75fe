// Which paths there are, and what is refused by its headers alone.
#pragma once

#include <cstdint>
#include <optional>

#include "inference/server/api_error.h"
#include "inference/server/api_keys.h"
#include "inference/server/http.h"

namespace photon {

enum class Route { kPage, kHealth, kReady, kMetrics, kModels, kModel, kCompletions, kChat };

// kModel: /v1/models/NAME.
std::optional<Route> FindRoute(absl::string_view path);

struct RequestLimits {
  int64_t max_body_bytes = 0;
  bool draining = false;  // no new work
  bool crowded = false;   // too many connections
};

// Unknown paths (404), wrong methods (405), missing keys (401), too much work (503), and bodies that are of another
// type (415), of unknown length (411) or too large (413).
std::optional<HttpResponse> RefuseByHead(const HttpHead& head, const ApiKeys& keys, const RequestLimits& limits);

ApiError BodyTooLarge(int64_t max_body_bytes);
ApiError TooManyConnections();

}  // namespace photon
