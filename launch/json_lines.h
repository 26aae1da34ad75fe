// Texts and token ids from JSON lines: a file, or stdin as "-". Each line is an object with either "text" (a string) or
// "tokens" (an array of ids), and an "id" of any kind that is handed on; other fields are passed over, empty lines too.
//
// Used by one thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/tokenizer.h"
#include "launch/line_input.h"

namespace photon {

struct JsonObject {
  int64_t number = 0;  // of its line, from 1
  nlohmann::ordered_json json;
};

struct JsonLine {
  int64_t number = 0;         // from 1
  nlohmann::ordered_json id;  // null where there is none
  bool is_text = false;
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<std::string> others;  // names of further fields
  int64_t end = 0;                  // bytes of the input up to behind it
};

// The tokens of a line that is text, with the leading begin-of-text. kFailedPrecondition, beginning with `at`, where
// there is no tokenizer.
absl::Status EncodeLine(const Tokenizer* tokenizer, const std::string& at, JsonLine* line);

class JsonLines {
 public:
  static absl::StatusOr<JsonLines> Open(const std::string& path);

  // The next line; false at the end. An error names file and line; the line after it may be asked for.
  absl::StatusOr<bool> Next(JsonLine* line);
  // The same, whatever fields it has.
  absl::StatusOr<bool> NextObject(JsonObject* object);

  // Whether there is no need to wait for it.
  bool Ready() { return input_.Ready(); }

  std::string At(int64_t number) const;  // "FILE, line 3", for messages
  int64_t bytes_read() const { return input_.bytes_read(); }
  int64_t bytes() const { return input_.bytes(); }  // in all; 0 where that is not known

 private:
  explicit JsonLines(LineInput input) : input_(std::move(input)) {}

  LineInput input_;
};

}  // namespace photon
