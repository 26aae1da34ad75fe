// Reads the fields of a JSON object one by one, and remembers the first that is wrong.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "inference/json_text.h"
#include "inference/server/api_error.h"

namespace photon {

using Json = nlohmann::ordered_json;

// A JSON object from a request's body, or what is wrong with the body. `example`: one to be shown then.
std::optional<ApiError> ParseObject(absl::string_view body, absl::string_view example, Json* object);

// "a string", "null": for messages.
std::string Described(const Json& value);

class JsonFields {
 public:
  // `object` outlives this. `prefix` stands before names in errors: "stream_options.".
  explicit JsonFields(const Json& object, std::string prefix = "") : object_(object), prefix_(std::move(prefix)) {}

  // Null where the field is absent or null: OpenAI takes the two for the same.
  const Json* Find(const char* name) const;

  // Leave the value as it is where the field is absent, null or wrong.
  void Read(const char* name, bool* value);
  void Read(const char* name, double* value);
  void Read(const char* name, std::string* value);
  void Read(const char* name, int64_t* value, int64_t least, int64_t most = INT32_MAX);

  // Of several errors the first counts.
  void Refuse(const std::string& name, const std::string& message);
  void WrongType(const std::string& name, const char* wanted, const Json& value);
  void Adopt(const JsonFields& inner);  // its error is ours
  const std::optional<ApiError>& error() const { return error_; }

 private:
  const Json& object_;
  const std::string prefix_;
  std::optional<ApiError> error_;
};

}  // namespace photon
