// Short forms for absl::Status, used at every module border.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Leaves the function with the status if it is not OK.
#define PHOTON_RETURN_IF_ERROR(expr)                                                       \
  do {                                                                                     \
    if (absl::Status photon_status_ = (expr); !photon_status_.ok()) return photon_status_; \
  } while (0)

#define PHOTON_STATUS_CONCAT_INNER(a, b) a##b
#define PHOTON_STATUS_CONCAT(a, b) PHOTON_STATUS_CONCAT_INNER(a, b)
#define PHOTON_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                                 \
  if (!tmp.ok()) return tmp.status();                \
  lhs = *std::move(tmp)

// PHOTON_ASSIGN_OR_RETURN(auto x, F()): x = *F(), or leaves with F's status.
#define PHOTON_ASSIGN_OR_RETURN(lhs, expr) \
  PHOTON_ASSIGN_OR_RETURN_IMPL(PHOTON_STATUS_CONCAT(photon_or_, __LINE__), lhs, expr)
