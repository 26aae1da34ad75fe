// A progress line on stderr for what takes longer than two seconds: how far, how fast, how much longer.
#pragma once

#include <cstdint>
#include <string>

#include "core/time.h"

namespace photon {

class ProgressLine {
 public:
  ProgressLine(std::string what, bool shown);
  ~ProgressLine();  // ends the line
  void Update(int64_t done, int64_t total);

 private:
  const std::string what_;
  const bool shown_;
  const bool terminal_;  // rewrites one line; a log gets a new one, less often
  const double start_ = Now();
  double last_ = start_;
  bool printed_ = false;
};

}  // namespace photon
