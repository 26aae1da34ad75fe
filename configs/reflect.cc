#include "configs/reflect.h"

#include "absl/strings/str_cat.h"
#include "configs/nearest.h"

namespace photon {

std::vector<std::string> FieldNames(const google::protobuf::Descriptor* type) {
  std::vector<std::string> names;
  for (int i = 0; i < type->field_count(); ++i) names.push_back(type->field(i)->name());
  return names;
}

std::vector<std::string> EnumValues(const google::protobuf::FieldDescriptor* field) {
  std::vector<std::string> values;
  for (int i = 0; i < field->enum_type()->value_count(); ++i) values.push_back(field->enum_type()->value(i)->name());
  return values;
}

std::string UnknownField(const google::protobuf::Descriptor* type, absl::string_view name) {
  return absl::StrCat(type->name(), " has no field \"", name, "\"", DidYouMean(name, FieldNames(type)));
}

}  // namespace photon
