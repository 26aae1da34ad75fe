#include "launch/exit_code.h"

namespace photon {

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitDone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kDataLoss:
      return kExitBadInput;
    case absl::StatusCode::kAborted:
      return kExitStopped;
    case absl::StatusCode::kUnavailable:
      return kExitDevice;
    default:
      return kExitBug;
  }
}

}  // namespace photon
