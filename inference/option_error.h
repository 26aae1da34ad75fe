// Errors about what a request asks for. Messages call options as the command line does, "--max-new-tokens"; a payload
// tells which one is at fault, for those who call it something else (inference/server/api_error.h).
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace photon {

// `option`: without dashes; "prompt" for the prompt, whatever it came in.
absl::Status OptionError(absl::string_view option, absl::string_view message,
                         absl::StatusCode code = absl::StatusCode::kInvalidArgument);

// Empty where a status tells of none.
std::string OptionAtFault(const absl::Status& status);

}  // namespace photon
