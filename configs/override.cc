// --set a.b=c
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "configs/config.h"
#include "configs/nearest.h"
#include "configs/reflect.h"

namespace photon {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::TextFormat;

class Silent : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int, int, const std::string&) override {}
};

absl::Status SetField(const FieldDescriptor* field, const std::string& value, Message* message) {
  const Reflection& reflection = *message->GetReflection();
  reflection.ClearField(message, field);
  if (value.empty()) return absl::OkStatus();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && value[0] != '"' && value[0] != '\'') {
    field->is_repeated() ? reflection.AddString(message, field, value) : reflection.SetString(message, field, value);
    return absl::OkStatus();
  }
  if (field->enum_type() != nullptr && field->enum_type()->FindValueByName(value) == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(field->name(), " has no value \"", value, "\"", DidYouMean(value, EnumValues(field))));
  }
  Silent silent;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&silent);
  if (!parser.ParseFieldValueFromString(value, field, message)) {
    return absl::InvalidArgumentError(
        absl::StrCat(field->name(), " takes a value of type ", field->cpp_type_name(), ", not \"", value, "\""));
  }
  return absl::OkStatus();
}

// The entry of a repeated field that `index` names.
absl::StatusOr<Message*> Entry(const FieldDescriptor* field, absl::string_view index, Message* message) {
  const Reflection& reflection = *message->GetReflection();
  // Of layouts only the levels that differ from the defaults need be listed: naming one lists it.
  constexpr int kMostListed = 64;
  const bool grows = field->message_type() == LevelLayout::descriptor();
  int i = 0;
  if (!absl::SimpleAtoi(index, &i)) {
    return absl::InvalidArgumentError(absl::StrCat(field->name(), " is a list: give the number of an entry, as in ",
                                                   field->name(), ".0, not \"", index, "\""));
  }
  while (grows && i < kMostListed && i >= reflection.FieldSize(*message, field)) reflection.AddMessage(message, field);
  const int size = reflection.FieldSize(*message, field);
  if (i < 0 || i >= size) {
    return absl::InvalidArgumentError(absl::StrCat(
        field->name(), ".", i, " is out of range: the config has ", size, size == 1 ? " entry" : " entries",
        size == 0 ? "" : absl::StrCat(", numbered 0 to ", size - 1), "; add entries in the config file"));
  }
  return reflection.MutableRepeatedMessage(message, field, i);
}

absl::Status SetPath(const std::vector<std::string>& path, const std::string& value, Message* message) {
  for (size_t i = 0;; ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(path[i]);
    if (field == nullptr) return absl::InvalidArgumentError(UnknownField(message->GetDescriptor(), path[i]));
    const bool last = i + 1 == path.size();
    if (field->message_type() == nullptr) {
      if (last) return SetField(field, value, message);
      return absl::InvalidArgumentError(
          absl::StrCat(path[i], " is a single value and has no field \"", path[i + 1], "\""));
    }
    if (last && value.empty()) {
      message->GetReflection()->ClearField(message, field);
      return absl::OkStatus();
    }
    if (last) {
      return absl::InvalidArgumentError(
          absl::StrCat(path[i],
                       field->is_repeated() ? " is a list: set a field of an entry, as in "
                                            : " is a group: set one of its fields, as in ",
                       path[i], field->is_repeated() ? ".0." : ".", FieldNames(field->message_type()).front(),
                       "=.., or clear it with ", path[i], "="));
    }
    if (!field->is_repeated()) {
      message = message->GetReflection()->MutableMessage(message, field);
      continue;
    }
    absl::StatusOr<Message*> entry = Entry(field, path[++i], message);
    if (!entry.ok()) return entry.status();
    message = *entry;
    if (i + 1 == path.size()) {
      return absl::InvalidArgumentError(absl::StrCat(path[i - 1], ".", path[i],
                                                     " is a group: set one of its fields, as in ", path[i - 1], ".",
                                                     path[i], ".", FieldNames(field->message_type()).front(), "=.."));
    }
  }
}

}  // namespace

absl::Status ApplyOverride(absl::string_view assignment, RunConfig* config) {
  const std::pair<std::string, std::string> sides = absl::StrSplit(assignment, absl::MaxSplits('=', 1));
  if (!absl::StrContains(assignment, "=") || sides.first.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--set ", assignment, ": not of the form field=value, as in model.width=512"));
  }
  const absl::Status status = SetPath(absl::StrSplit(sides.first, '.'), sides.second, config);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat("--set ", assignment, ": ", status.message()));
}

}  // namespace photon
