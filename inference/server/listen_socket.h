// A socket that listens.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace photon {

// Its accept doesn't wait. `host`: a name or an address. Errors: HttpServer::Listen's.
absl::StatusOr<int> ListeningSocket(const std::string& host, int port);
int PortOf(int socket);

}  // namespace photon
