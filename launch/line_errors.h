// What becomes of lines that can't be used: the first ends the work, or each is told on stderr and counted.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace photon {

class LineErrors {
 public:
  explicit LineErrors(bool skip) : skip_(skip) {}

  // True where the work goes on behind that line. A kFailedPrecondition (no tokenizer) and a
  // kResourceExhausted (no memory, no room) are no line's fault and end it.
  bool Pass(const absl::Status& status);
  // The input itself broke off, which no line can be left out for: the work ends after what stands before it.
  void BreakOff(const absl::Status& status) { failure_ = status; }
  const absl::Status& failure() const { return failure_; }  // what ended it
  int64_t skipped() const { return skipped_; }              // lines
  void TellSkipped() const;                                 // how many, on stderr

 private:
  const bool skip_;
  absl::Status failure_;
  int64_t skipped_ = 0;
};

}  // namespace photon
