#include "inference/option_error.h"

#include "absl/strings/cord.h"

namespace photon {
namespace {

constexpr char kPayload[] = "photon/option";

}  // namespace

absl::Status OptionError(absl::string_view option, absl::string_view message, absl::StatusCode code) {
  absl::Status status(code, message);
  status.SetPayload(kPayload, absl::Cord(option));
  return status;
}

std::string OptionAtFault(const absl::Status& status) {
  const auto option = status.GetPayload(kPayload);
  return option.has_value() ? std::string(*option) : "";
}

}  // namespace photon
