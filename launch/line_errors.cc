#include "launch/line_errors.h"

#include <iostream>

#include "absl/strings/str_cat.h"

namespace photon {

bool LineErrors::Pass(const absl::Status& status) {
  if (!skip_ || absl::IsFailedPrecondition(status) || absl::IsResourceExhausted(status)) {
    failure_ = status;
    return false;
  }
  ++skipped_;
  std::cerr << absl::StrCat(status.message(), "; skipped\n");
  return true;
}

void LineErrors::TellSkipped() const {
  if (skipped_ > 0) std::cerr << absl::StrCat(skipped_, skipped_ == 1 ? " line" : " lines", " skipped\n");
}

}  // namespace photon
