// What the tests of the request parsers share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "inference/server/completion_request.h"

namespace photon::testing {

using RequestParser = std::function<std::variant<CompletionRequest, ApiError>(const std::string& body)>;

inline CompletionRequest Accepted(const RequestParser& parse, const std::string& body) {
  const auto parsed = parse(body);
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    ADD_FAILURE() << body << ": " << error->message;
    return {};
  }
  return std::get<CompletionRequest>(parsed);
}

// Of status 400.
inline ApiError Refused(const RequestParser& parse, const std::string& body) {
  const auto parsed = parse(body);
  const auto* error = std::get_if<ApiError>(&parsed);
  if (error == nullptr) {
    ADD_FAILURE() << body.substr(0, 100) << ": accepted";
    return {};
  }
  EXPECT_EQ(error->status, 400) << body.substr(0, 100);
  return *error;
}

// A body with these fields is refused for `param`, with a message that holds `message`.
struct RefusedFields {
  std::string fields;
  const char* param;
  const char* message;
};
inline void ExpectRefusals(const std::vector<RefusedFields>& cases, const RequestParser& parse_fields) {
  for (const RefusedFields& test : cases) {
    const ApiError error = Refused(parse_fields, test.fields);
    EXPECT_EQ(error.param, test.param) << test.fields << ": " << error.message;
    EXPECT_THAT(error.message, ::testing::HasSubstr(test.message)) << test.fields;
    EXPECT_EQ(nlohmann::json::parse(ErrorJson(error))["error"]["param"], test.param);
  }
}

// The body that the message for one that is no object holds up as an example is a good one.
inline void ExpectGoodExample(const RequestParser& parse) {
  const std::string message = Refused(parse, "[1]").message;
  Accepted(parse, message.substr(message.find('{')));
}

}  // namespace photon::testing
