// What MPI's functions return, as a status.
#pragma once

#include <mpi.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "core/status.h"

namespace photon {

// `call`: for the message. kInternal for a message of another size than wanted, else kUnavailable.
inline absl::Status MpiStatus(int code, absl::string_view call) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0, error_class = MPI_ERR_OTHER;
  MPI_Error_string(code, text, &length);
  MPI_Error_class(code, &error_class);
  const std::string message = absl::StrCat(call, ": ", absl::string_view(text, length));
  return error_class == MPI_ERR_TRUNCATE ? absl::InternalError(message) : absl::UnavailableError(message);
}

#define PHOTON_MPI(call) PHOTON_RETURN_IF_ERROR(MpiStatus(call, #call))

}  // namespace photon
