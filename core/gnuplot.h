// Pictures by gnuplot, where it is installed.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace photon {

// Writes NAME.gnuplot with these commands into the folder and runs it there, silently. kUnavailable: no gnuplot, or one
// that fails; the script stays. Else WriteFile's errors.
absl::Status DrawByGnuplot(const std::string& folder, const std::string& name, absl::string_view commands);

}  // namespace photon
