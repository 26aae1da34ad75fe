#include "launch/wanted_picture.h"

#include <filesystem>
#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/file.h"
#include "core/gnuplot.h"

namespace photon {
namespace {

// gnuplot's name of what writes such a file; empty: no picture.
absl::string_view Terminal(const std::string& path) {
  if (absl::EndsWithIgnoreCase(path, ".png")) return "pngcairo";
  return absl::EndsWithIgnoreCase(path, ".svg") ? "svg" : "";
}

}  // namespace

absl::StatusOr<WantedPicture> WantedPicture::Open(const std::string& path) {
  if (!path.empty() && Terminal(path).empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--plot ", path, ": pictures are .png or .svg files"));
  }
  std::error_code error;
  if (!path.empty() && !std::filesystem::is_directory(ParentFolder(path), error)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--plot ", path, ": there is no folder ", ParentFolder(path), "; make it first"));
  }
  return WantedPicture(path);
}

absl::Status WantedPicture::Draw(int width, int height, absl::string_view commands) const {
  if (path_.empty()) return absl::OkStatus();
  const std::filesystem::path file(path_);
  const std::string quoted = absl::StrReplaceAll(file.filename().string(), {{"'", "''"}});
  return WarnOfNoPicture(DrawByGnuplot(ParentFolder(path_), file.stem(),
                                       absl::StrCat("set terminal ", Terminal(path_), " size ", width, ",", height,
                                                    " font 'sans,11'\nset output '", quoted, "'\n", commands)));
}

absl::Status WarnOfNoPicture(const absl::Status& drawn) {
  if (!absl::IsUnavailable(drawn) && !absl::IsFailedPrecondition(drawn)) return drawn;
  std::cerr << absl::StrCat("warning: ", drawn.message(), "\n");
  return absl::OkStatus();
}

}  // namespace photon
