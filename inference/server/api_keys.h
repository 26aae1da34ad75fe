// Who may use the server: keys that requests carry as "Authorization: Bearer KEY".
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace photon {

class ApiKeys {
 public:
  ApiKeys() = default;  // everybody may
  // One key a line; empty lines and those that begin with '#' count nothing. kInvalidArgument: no key, or one with
  // characters that headers can't carry.
  static absl::StatusOr<ApiKeys> FromFile(const std::string& path);

  // Takes as long for a wrong key as for a nearly right one.
  bool Allow(absl::string_view authorization) const;

 private:
  std::vector<std::string> keys_;
};

}  // namespace photon
