// Stop strings in a text that arrives in pieces: finds them across the pieces' borders, and lets nothing through that a
// stop string might begin with, until it is clear that none does.
//
// What comes out depends on the text alone, not on how it was cut: the stop string that is complete first counts, of
// several complete at the same byte the longest; the text before it comes out, and nothing after. (vLLM, llama.cpp:
// the stop string itself is not part of the text.)
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace photon {

// kInvalidArgument for a stop string that is empty or no UTF-8: it could never be met, or cut a character in two.
absl::Status ValidateStopStrings(const std::vector<std::string>& strings);

class StopText {
 public:
  explicit StopText(std::vector<std::string> strings) : strings_(std::move(strings)) {}

  // The text that may be shown after `piece`. Empty once stopped.
  std::string Push(absl::string_view piece);
  // The text is at its end: what was held back, unless stopped.
  std::string Finish();
  // Text so far, held back or not, begins no stop string any more: for text in which stops are not looked for.
  std::string PassThrough(absl::string_view piece);

  bool stopped() const { return stop_ >= 0; }
  // Which string it was: an index; -1 while not stopped.
  int stop() const { return stop_; }

 private:
  size_t HeldBack() const;

  std::vector<std::string> strings_;
  std::string held_;
  int stop_ = -1;
};

}  // namespace photon
