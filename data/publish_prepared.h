// The last step of `photon prepare`: its files get their names. May be repeated, after a kill at any moment.
#pragma once

#include <string>

#include "core/file_system.h"
#include "core/status.h"
#include "data/prepare_state.h"

namespace photon {

// What a complete call left in `folder`, under the names of `prefix`, in place of what had them. Indexes come last, and
// older ones go first: nothing reads a set that is half of one call and half of another. `tokenizer_name` as of
// TokenizerFileName.
absl::Status PublishPrepared(const std::string& folder, const std::string& prefix, const PrepareState& state,
                             const std::string& tokenizer_name, FileSystem& files = RealFileSystem());

}  // namespace photon
