// Errors as OpenAI's API gives them: {"error": {"message", "type", "param", "code"}}.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "inference/server/http.h"

namespace photon {

struct ApiError {
  int status = 400;
  std::string message;     // what, where, and how to mend it
  std::string param = "";  // the field; empty: none (null)
  std::string code = "";   // for programs; empty: none (null)
};

std::string ErrorJson(const ApiError& error);
// With the headers that belong to the status: Retry-After, WWW-Authenticate, x-should-retry.
HttpResponse ErrorResponse(const ApiError& error);

// What the paths call differently.
struct FieldNames {
  const char* prompt = "prompt";
  const char* max_tokens = "max_tokens";
  const char* logprobs = "logprobs";
};

// What the engine or the model said. Options of `photon generate`, in the message and as what is at fault, become the
// fields that they are here.
ApiError ErrorOf(const absl::Status& status, const FieldNames& names = {});

}  // namespace photon
