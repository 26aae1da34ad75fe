// What messages about fields and enum values of the schemas have in common.
#pragma once

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace photon {

std::vector<std::string> FieldNames(const google::protobuf::Descriptor* type);
std::vector<std::string> EnumValues(const google::protobuf::FieldDescriptor* field);
// `ModelConfig has no field "widht"; did you mean "width"?`
std::string UnknownField(const google::protobuf::Descriptor* type, absl::string_view name);

}  // namespace photon
