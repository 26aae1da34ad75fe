#include "data/finished_set.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/file.h"

namespace photon {
namespace {

absl::Status Taken(const std::string& prefix, absl::string_view problem) {
  return absl::AlreadyExistsError(absl::StrCat("--out ", prefix, " is there already, ", problem,
                                               ": choose another --out, or replace it with --fresh"));
}

std::vector<std::string> PartsOf(const std::string& prefix, const TokenFileInfo& info) {
  const std::filesystem::path path(prefix);
  std::vector<std::string> parts;
  for (const auto& [source, count] : info.sources) {
    // By its form: no edited description makes us touch files of other sets.
    if (!absl::StartsWith(count.prefix, path.filename().string() + ".") || absl::StrContains(count.prefix, '/')) {
      continue;
    }
    parts.push_back((path.parent_path() / count.prefix).string());
  }
  return parts;
}

}  // namespace

std::vector<std::string> PartsOf(const std::string& prefix) {
  const auto info = TokenFileInfo::Read(prefix);
  return info.ok() && info->has_value() ? PartsOf(prefix, **info) : std::vector<std::string>();
}

absl::StatusOr<std::optional<TokenFileInfo>> FinishedBefore(const std::string& prefix, const PrepareCall& call) {
  const absl::StatusOr<std::optional<TokenFileInfo>> info = TokenFileInfo::Read(prefix);
  if (!info.ok()) return Taken(prefix, absl::StrCat("with a ", prefix, ".json that is no token file's"));
  if (!info->has_value()) {
    if (!FileExists(prefix + ".idx") && !FileExists(prefix + ".bin")) return std::nullopt;
    return Taken(prefix, "a token file without PREFIX.json, as other programs make them");
  }
  if ((*info)->call.empty()) return Taken(prefix, "part of another set, or made by an earlier version");
  PHOTON_ASSIGN_OR_RETURN(const PrepareCall before, CallOfText((*info)->call, prefix + ".json"));
  const bool bad_lines = (*info)->skipped_lines + (*info)->replaced_lines > 0;
  if (const std::string difference = DifferenceOf(before, call, bad_lines); !difference.empty()) {
    return Taken(prefix, absl::StrCat("made by another call: ", difference));
  }
  const std::vector<std::string> files = (*info)->split() ? PartsOf(prefix, **info) : std::vector<std::string>{prefix};
  const bool whole = std::all_of(files.begin(), files.end(), [](const std::string& file) {
    return FileExists(file + ".bin") && FileExists(file + ".idx");
  });
  return whole ? *info : std::nullopt;
}

}  // namespace photon
