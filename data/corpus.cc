#include "data/corpus.h"

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/file.h"
#include "data/utf8.h"

namespace photon {

absl::StatusOr<CorpusReader> CorpusReader::Create(CorpusOptions options) {
  CorpusReader reader(std::move(options));
  if (reader.options_.files.empty()) return absl::InvalidArgumentError("no input files: give --input FILES");
  for (const std::string& file : reader.options_.files) {
    std::error_code error;
    if (std::filesystem::is_directory(file, error)) {
      return absl::InvalidArgumentError(absl::StrCat("input ", file, " is a folder: name the files in it"));
    }
    if (!std::ifstream(file)) return FileError(errno, "input", file);
    const uintmax_t size = std::filesystem::file_size(file, error);
    if (!error) reader.total_bytes_ += static_cast<int64_t>(size);
  }
  return reader;
}

absl::StatusOr<bool> CorpusReader::Next(TextPart* part) {
  while (ready_.empty()) {
    if (!in_.is_open()) {
      if (file_ == options_.files.size()) return false;
      PHOTON_RETURN_IF_ERROR(OpenFile());
    }
    PHOTON_RETURN_IF_ERROR(ReadLine());
  }
  *part = std::move(ready_.front());
  ready_.pop_front();
  return true;
}

absl::Status CorpusReader::OpenFile() {
  const std::string& path = options_.files[file_];
  in_.open(path, std::ios::binary);
  if (!in_) return FileError(errno, "input", path);
  json_ = absl::EndsWith(path, ".jsonl");
  line_ = 0;
  return absl::OkStatus();
}

absl::Status CorpusReader::ReadLine() {
  std::string line;
  if (!std::getline(in_, line)) {
    if (in_.bad()) return LineError("cannot be read");
    EndDocument();
    in_.close();
    in_.clear();
    ++file_;
    return absl::OkStatus();
  }
  ++line_;
  bytes_read_ += static_cast<int64_t>(line.size()) + 1;
  if (const size_t bad = FirstInvalidUtf8(line); bad != line.size()) {
    return LineError(absl::StrCat("byte ", bad + 1, " is not UTF-8: convert the file (iconv -f latin1 -t utf-8)"));
  }
  if (line_ == 1 && absl::StartsWith(line, "\xEF\xBB\xBF")) line.erase(0, 3);
  return json_ ? TakeJsonLine(line) : TakeTextLine(line);
}

absl::Status CorpusReader::TakeTextLine(const std::string& line) {
  const bool blank = line.find_first_not_of(" \t\r\f") == std::string::npos;
  const bool separates = options_.separator == kBlankLine
                             ? blank
                             : !options_.separator.empty() && absl::StripSuffix(line, "\r") == options_.separator;
  if (separates) {
    EndDocument();
  } else {
    AddLine(line);
  }
  return absl::OkStatus();
}

absl::Status CorpusReader::TakeJsonLine(const std::string& line) {
  if (line.find_first_not_of(" \t\r") == std::string::npos) return absl::OkStatus();
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) return LineError("not valid JSON");
  if (!object.is_object() || !object.contains("text") || !object["text"].is_string()) {
    return LineError("not an object with a string \"text\"");
  }
  if (object.contains("meta") && object["meta"].is_object()) {
    const auto& meta = object["meta"];
    if (meta.contains("pile_set_name") && meta["pile_set_name"].is_string()) current_.source = meta["pile_set_name"];
  }
  absl::string_view text = object["text"].get_ref<const std::string&>();
  absl::ConsumeSuffix(&text, "\n");
  for (absl::string_view part : absl::StrSplit(text, '\n')) AddLine(part);
  EndDocument();
  return absl::OkStatus();
}

absl::Status CorpusReader::LineError(absl::string_view problem) const {
  return absl::InvalidArgumentError(absl::StrCat("input ", options_.files[file_], ", line ", line_, ": ", problem));
}

void CorpusReader::AddLine(absl::string_view line) {
  if (options_.part_bytes > 0 && static_cast<int64_t>(current_.text.size()) >= options_.part_bytes) {
    TextPart next{.text = "", .source = current_.source, .begins = false, .ends = true};
    current_.ends = false;
    ready_.push_back(std::exchange(current_, std::move(next)));
  }
  absl::StrAppend(&current_.text, has_lines_ ? "\n" : "", line);
  has_lines_ = true;
}

void CorpusReader::EndDocument() {
  if (!current_.text.empty()) ready_.push_back(std::move(current_));
  current_ = TextPart();
  has_lines_ = false;
}

}  // namespace photon
