#include "launch/wanted_file.h"

#include <filesystem>

#include "absl/strings/str_cat.h"

namespace photon {
namespace {

// By whatever names; also where neither exists yet.
bool AreOne(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  std::error_code error;
  if (std::filesystem::equivalent(a, b, error)) return true;
  return std::filesystem::weakly_canonical(a, error) == std::filesystem::weakly_canonical(b, error) && !error;
}

}  // namespace

absl::Status CheckDistinct(const std::vector<NamedFile>& written, const std::vector<NamedFile>& read) {
  for (size_t i = 0; i < written.size(); ++i) {
    for (const NamedFile& input : read) {
      if (!AreOne(written[i].path, input.path)) continue;
      return absl::InvalidArgumentError(absl::StrCat(written[i].option, " is ", written[i].path, ", which ",
                                                     input.option,
                                                     " reads: choose another name, or it would be replaced"));
    }
    for (size_t j = 0; j < i; ++j) {
      if (!AreOne(written[i].path, written[j].path)) continue;
      return absl::InvalidArgumentError(absl::StrCat(written[i].option, " and ", written[j].option, " are both ",
                                                     written[i].path, ": choose another name for one of them"));
    }
  }
  return absl::OkStatus();
}

}  // namespace photon
