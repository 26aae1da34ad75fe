// An answer after which the connection is closed, as it goes over the wire: where httplib has no request to answer.
#pragma once

#include <string>

#include "inference/server/http.h"

namespace photon {

// `answer` is no stream.
std::string LastAnswer(const HttpResponse& answer);

}  // namespace photon
