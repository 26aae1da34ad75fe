// A progress line on stderr for what takes longer than two seconds: how far, how fast, how much longer.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/time.h"

namespace photon {

class ProgressLine {
 public:
  enum class Unit { kBytes, kThings };
  // `already` of the work was done before, by an earlier program.
  ProgressLine(std::string what, bool shown, int64_t already = 0, Unit unit = Unit::kBytes);
  ~ProgressLine();  // ends the line
  void Update(int64_t done, int64_t total);
  void Say(absl::string_view message);  // a line of its own
  void Clear();                         // on a terminal: makes room for what another stream prints

 private:
  const std::string what_;
  const bool shown_;
  const bool terminal_;  // rewrites one line; a log gets a new one, less often
  const int64_t already_;
  const Unit unit_;
  const double start_ = Now();
  double last_ = start_;
  bool printed_ = false;
};

}  // namespace photon
