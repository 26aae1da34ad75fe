// Protobuf's text parser, with errors that say where and what was meant. Any thread.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "absl/status/status.h"

namespace photon {

// Errors: kInvalidArgument, as LoadRunConfig says; `name` stands for the file in messages.
absl::Status ParseText(const std::string& text, const std::string& name, google::protobuf::Message* message);
// Also kNotFound. `what` the file is stands before its name then: "config".
absl::Status ParseFile(const std::string& path, const std::string& what, google::protobuf::Message* message);

}  // namespace photon
