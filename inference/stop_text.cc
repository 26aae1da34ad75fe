#include "inference/stop_text.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/utf8.h"
#include "inference/option_error.h"

namespace photon {

absl::Status ValidateStopStrings(const std::vector<std::string>& strings) {
  for (const std::string& string : strings) {
    if (string.empty()) return OptionError("stop", "--stop is an empty string: give at least one character");
    if (FirstInvalidUtf8(string) != string.size()) {
      return OptionError("stop", absl::StrCat("--stop: byte ", FirstInvalidUtf8(string),
                                              " of the string is no UTF-8; give UTF-8 text"));
    }
  }
  return absl::OkStatus();
}

std::string StopText::Push(absl::string_view piece) {
  if (stopped()) return "";
  for (const char byte : piece) {
    held_.push_back(byte);
    size_t longest = 0;
    for (size_t i = 0; i < strings_.size(); ++i) {
      if (strings_[i].size() > longest && absl::EndsWith(held_, strings_[i])) {
        longest = strings_[i].size();
        stop_ = static_cast<int>(i);
      }
    }
    if (longest == 0) continue;
    held_.resize(held_.size() - longest);
    return std::exchange(held_, "");
  }
  const size_t shown = held_.size() - HeldBack();
  std::string text = held_.substr(0, shown);
  held_.erase(0, shown);
  return text;
}

std::string StopText::Finish() { return stopped() ? "" : std::exchange(held_, ""); }

std::string StopText::PassThrough(absl::string_view piece) { return absl::StrCat(Finish(), stopped() ? "" : piece); }

// Length of the longest end of held_ that a stop string begins with.
size_t StopText::HeldBack() const {
  size_t longest = 0;
  for (const std::string& string : strings_) {
    for (size_t length = std::min(string.size() - 1, held_.size()); length > longest; --length) {
      if (absl::EndsWith(held_, absl::string_view(string).substr(0, length))) longest = length;
    }
  }
  return longest;
}

}  // namespace photon
