// The fields that requests of /v1/completions and /v1/chat/completions have in common, and what else their parsers
// share. Pure functions; safe on any JSON.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "inference/server/api_error.h"
#include "inference/server/completion_request.h"
#include "inference/server/json_fields.h"

namespace photon {

inline constexpr int64_t kMostContinuations = 128;
inline constexpr int64_t kMostLogprobs = 20;  // OpenAI's in chats, vLLM's

// A request from a body whose fields `read` reads. Errors: 400, and the field's name in `param`.
std::variant<CompletionRequest, ApiError> ParseRequest(absl::string_view body, absl::string_view example,
                                                       absl::FunctionRef<void(JsonFields*, CompletionRequest*)> read);

// How to choose, how many, when to stop, whether to stream; and refuses what neither path supports.
void ReadCommonFields(JsonFields* fields, CompletionRequest* request);

// For what would change the result and is not there: better refused than ignored. Null, false and an empty list ask for
// nothing, nor does {"type": "text"}, the usual form of a response. `why`: "is not supported here: leave it out".
void RefuseFields(absl::Span<const char* const> names, const char* why, JsonFields* fields);
// For what is always done here, and can't be switched off.
void RequireTrue(absl::Span<const char* const> names, JsonFields* fields);

// False, with the error told, where an element is no token id.
bool ReadIds(const Json& array, const std::string& name, JsonFields* fields, std::vector<int32_t>* ids);

}  // namespace photon
