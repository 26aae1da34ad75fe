// Texts and token ids from JSON lines: a file, or stdin as "-". Each line is an object with either "text" (a string) or
// "tokens" (an array of ids), and an "id" of any kind that is handed on; other fields are passed over, empty lines too.
//
// Used by one thread.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/tokenizer.h"

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

  std::string At(int64_t number) const;  // "FILE, line 3", for messages
  int64_t bytes_read() const { return bytes_read_; }
  int64_t bytes() const { return bytes_; }  // in all; 0 where that is not known

 private:
  JsonLines() = default;

  std::string name_;
  std::unique_ptr<std::ifstream> file_;  // null: stdin
  int64_t number_ = 0, bytes_read_ = 0, bytes_ = 0;
};

}  // namespace photon
