#include "inference/server/json_fields.h"

#include "absl/strings/str_cat.h"
#include "core/json_depth.h"
#include "data/utf8.h"

namespace photon {

std::optional<ApiError> ParseObject(absl::string_view body, absl::string_view example, Json* object) {
  if (const size_t bad = FirstInvalidUtf8(body); bad != body.size()) {
    return ApiError{400, absl::StrCat("the body: byte ", bad + 1, " is not UTF-8; JSON is sent in UTF-8"), "",
                    "invalid_json"};
  }
  // Each level takes many times the memory of its bracket.
  if (JsonTooDeep(body)) {
    return ApiError{400, absl::StrCat("the body nests deeper than ", kMostJsonDepth, " levels"), "", "invalid_json"};
  }
  if (JsonTooWide(body)) {
    return ApiError{400, absl::StrCat("the body has more than ", kMostJsonFields, " fields"), "", "invalid_json"};
  }
  try {
    *object = Json::parse(body.begin(), body.end());
  } catch (const Json::parse_error& error) {
    const bool ended = error.byte > body.size();
    return ApiError{400,
                    absl::StrCat("the body is not valid JSON: ",
                                 ended ? "it ends too early" : absl::StrCat("something is wrong at byte ", error.byte),
                                 "; send one object, as in ", example),
                    "", "invalid_json"};
  } catch (const Json::out_of_range&) {
    return ApiError{400, "the body holds a number beyond 1e308, the largest there is here", "", "invalid_json"};
  }
  if (object->is_object()) return std::nullopt;
  return ApiError{400, absl::StrCat("the body is ", Described(*object), ", not an object, as in ", example), "",
                  "invalid_json"};
}

std::string Described(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return value.empty() ? "an empty array" : "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    default:
      return value.dump();
  }
}

const Json* JsonFields::Find(const char* name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void JsonFields::Read(const char* name, bool* value) {
  const Json* json = Find(name);
  if (json == nullptr) return;
  if (!json->is_boolean()) return WrongType(name, "true or false", *json);
  *value = json->get<bool>();
}

void JsonFields::Read(const char* name, double* value) {
  const Json* json = Find(name);
  if (json == nullptr) return;
  if (!json->is_number()) return WrongType(name, "a number", *json);
  *value = json->get<double>();
}

void JsonFields::Read(const char* name, std::string* value) {
  const Json* json = Find(name);
  if (json == nullptr) return;
  if (!json->is_string()) return WrongType(name, "a string", *json);
  *value = json->get<std::string>();
}

void JsonFields::Read(const char* name, int64_t* value, int64_t least, int64_t most) {
  const Json* json = Find(name);
  if (json == nullptr) return;
  if (!json->is_number_integer()) return WrongType(name, "an integer", *json);
  // One beyond the largest signed number would read as a negative one.
  const bool fits = !json->is_number_unsigned() || json->get<uint64_t>() <= uint64_t{INT64_MAX};
  const int64_t given = fits ? json->get<int64_t>() : INT64_MAX;
  if (given < least || given > most || !fits) {
    return Refuse(name, absl::StrCat("is ", json->dump(), ": give an integer from ", least, " to ", most));
  }
  *value = given;
}

void JsonFields::Refuse(const std::string& name, const std::string& message) {
  if (error_.has_value()) return;
  const std::string field = absl::StrCat(prefix_, name);
  error_ = ApiError{400, absl::StrCat(field, " ", message), field};
}

void JsonFields::WrongType(const std::string& name, const char* wanted, const Json& value) {
  Refuse(name, absl::StrCat("is ", Described(value), ": give ", wanted));
}

void JsonFields::Adopt(const JsonFields& inner) {
  if (!error_.has_value()) error_ = inner.error_;
}

}  // namespace photon
