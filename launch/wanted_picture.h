// A picture that the command line asks for, or none: its folder is looked at before the work, and whatever becomes of
// it, all else that was asked for is written.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace photon {

class WantedPicture {
 public:
  // --plot PATH, a .png or .svg; empty: none, and nothing is drawn. kInvalidArgument: another ending, or no such
  // folder.
  static absl::StatusOr<WantedPicture> Open(const std::string& path);
  // By gnuplot, so many pixels wide and high; `commands` stay beside the picture. As WarnOfNoPicture.
  absl::Status Draw(int width, int height, absl::string_view commands) const;

 private:
  explicit WantedPicture(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// A warning, and OK, where gnuplot is missing or fails (kUnavailable) or there is nothing to draw
// (kFailedPrecondition): no reason to lose results, or to take the work for failed. Other errors, as of a full disk,
// stay.
absl::Status WarnOfNoPicture(const absl::Status& drawn);

}  // namespace photon
