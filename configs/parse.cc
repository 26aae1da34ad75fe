#include "configs/parse.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "configs/nearest.h"
#include "configs/reflect.h"

namespace photon {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (line_ >= 0) return;
    line_ = std::max(line, 0);
    message_ = message;
  }
  int line() const { return line_; }  // from 0
  const std::string& message() const { return message_; }

 private:
  int line_ = -1;
  std::string message_;
};

// The parts of a message of Protobuf's that stand in double quotes.
std::vector<std::string> Quoted(const std::string& message) {
  const std::vector<std::string> pieces = absl::StrSplit(message, '"');
  std::vector<std::string> quoted;
  for (size_t i = 1; i < pieces.size(); i += 2) quoted.push_back(pieces[i]);
  return quoted;
}

// Values of the enum fields named `field` in `type` and below: Protobuf's message doesn't tell which message it is in.
void CollectEnumValues(const Descriptor* type, const std::string& field, std::vector<std::string>* values) {
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* candidate = type->field(i);
    if (candidate->message_type() != nullptr) CollectEnumValues(candidate->message_type(), field, values);
    if (candidate->enum_type() != nullptr && candidate->name() == field) {
      for (const std::string& value : EnumValues(candidate)) values->push_back(value);
    }
  }
}

// Protobuf reports where its reader stands, which may be a line or more after the word: goes back to the word.
int LineOf(const std::string& word, const std::string& text, int reported) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (int line = std::min<int>(reported, static_cast<int>(lines.size()) - 1); line >= 0; --line) {
    if (absl::StrContains(lines[line], word)) return line;
  }
  return reported;
}

absl::Status Explain(const FirstError& error, const Descriptor* outermost, const std::string& text,
                     const std::string& name) {
  const std::vector<std::string> quoted = Quoted(error.message());
  const auto at = [&](int line) { return absl::StrCat(name, ":", line + 1, ": "); };
  if (absl::StartsWith(error.message(), "Message type") && quoted.size() == 2) {
    const Descriptor* type = DescriptorPool::generated_pool()->FindMessageTypeByName(quoted[0]);
    if (type != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(at(LineOf(quoted[1], text, error.line())), UnknownField(type, quoted[1])));
    }
  }
  if (absl::StartsWith(error.message(), "Unknown enumeration value") && quoted.size() == 2) {
    std::vector<std::string> values;
    CollectEnumValues(outermost, quoted[1], &values);
    return absl::InvalidArgumentError(absl::StrCat(at(LineOf(quoted[0], text, error.line())), quoted[1],
                                                   " has no value \"", quoted[0], "\"", DidYouMean(quoted[0], values)));
  }
  return absl::InvalidArgumentError(absl::StrCat(at(error.line()), error.message()));
}

}  // namespace

absl::Status ParseText(const std::string& text, const std::string& name, google::protobuf::Message* message) {
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (parser.ParseFromString(text, message)) return absl::OkStatus();
  return Explain(error, message->GetDescriptor(), text, name);
}

absl::Status ParseFile(const std::string& path, const std::string& what, google::protobuf::Message* message) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat(what, " ", path, ": ", std::strerror(errno)));
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat(what, " ", path, ": is a folder; name a .textproto file"));
  }
  std::stringstream text;
  text << file.rdbuf();
  return ParseText(text.str(), path, message);
}

}  // namespace photon
