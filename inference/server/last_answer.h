// An answer after which the connection is closed, as it goes over the wire: where httplib has no request to answer.
#pragma once

#include <string>

#include "inference/server/http.h"

namespace photon {

// Of handler.Error(status), with the headers of a request without a head.
std::string LastAnswer(int status, HttpHandler& handler);

}  // namespace photon
