// What stands under a PREFIX already when `photon prepare` is called: nothing is replaced that was not meant.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/status.h"
#include "data/prepare_state.h"
#include "data/token_file_info.h"

namespace photon {

// The set that the same call finished earlier; none where PREFIX is free, or where files of such a set are gone.
// kAlreadyExists, with what differs, where anything else stands there: a set of another call or another program's token
// file, or a PREFIX.json that describes something else.
absl::StatusOr<std::optional<TokenFileInfo>> FinishedBefore(const std::string& prefix, const PrepareCall& call);

// "x.pile-cc" for each part that PREFIX.json lists, with PREFIX's folder; empty where there are none.
std::vector<std::string> PartsOf(const std::string& prefix);

}  // namespace photon
