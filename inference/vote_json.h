// A vote as `photon generate --output json` and the server show it. Any thread.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>

#include "inference/selection.h"

namespace photon {

// {"answer": null where no text held one, "votes", "answers", "continuations"}
nlohmann::ordered_json VoteJson(const Vote& vote, size_t continuations);

}  // namespace photon
