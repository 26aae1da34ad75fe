#include <simdjson.h>
#include <xxhash.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/check.h"
#include "data/corpus.h"
#include "data/json_surrogates.h"
#include "data/utf8.h"

namespace photon {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr size_t kExcerptBytes = 160;
constexpr size_t kKeptParserBytes = 16 << 20;  // after a longer line its memory is given back

static_assert(TextBlock::kPadding >= simdjson::SIMDJSON_PADDING);

// A number that it can't take; in newer versions (3.12, not 3.0) integers of too many digits have an error of their
// own.
template <typename Error>
bool IsOfNumber(Error error) {
  if constexpr (requires { Error::BIGINT_ERROR; }) {
    if (error == Error::BIGINT_ERROR) return true;
  }
  return error == Error::NUMBER_ERROR;
}

std::string Excerpt(absl::string_view line) {
  return ReplaceInvalidUtf8(line.substr(0, kExcerptBytes)) + (line.size() > kExcerptBytes ? ".." : "");
}

// The string at the end of a path of keys; none where there is none.
std::optional<absl::string_view> FindString(object at, const std::vector<std::string>& keys) {
  for (size_t i = 0; i + 1 < keys.size(); ++i) {
    if (at.at_key(keys[i]).get_object().get(at) != simdjson::SUCCESS) return std::nullopt;
  }
  std::string_view value;
  if (at.at_key(keys.back()).get_string().get(value) != simdjson::SUCCESS) return std::nullopt;
  return absl::string_view(value.data(), value.size());
}

// The same value with numbers that a double holds in place of integers of more than 64 bits, which are valid JSON but
// not simdjson's; empty where it is no JSON. What lies deeper than simdjson goes is left out.
std::string WithNarrowNumbers(absl::string_view line) {
  constexpr int kDeepest = 1000;
  const auto keep = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) { return depth < kDeepest; };
  const auto json = nlohmann::json::parse(line.begin(), line.end(), keep, /*allow_exceptions=*/false);
  return json.is_discarded() ? "" : json.dump();
}

TextHash HashOf(absl::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.low64, hash.high64};
}

}  // namespace

class BlockParser::Impl {
 public:
  explicit Impl(CorpusOptions options)
      : options_(std::move(options)),
        text_key_({options_.text_key}),
        source_key_(absl::StrSplit(options_.source_key, '.')),
        parser_(std::make_unique<simdjson::dom::parser>()) {}

  absl::Status Parse(const TextBlock& block, const std::string& path, std::vector<TextPart>* parts,
                     std::vector<BadLine>* bad) {
    path_ = &path;
    parts_ = parts;
    bad_ = bad;
    line_ = block.begin.lines;
    return block.json ? ParseJson(block.text()) : ParseText(block);
  }

 private:
  absl::Status ParseJson(absl::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      ++line_;
      PHOTON_RETURN_IF_ERROR(TakeJsonLine(text.substr(0, end)));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return absl::OkStatus();
  }

  // At least kPadding readable bytes follow the line.
  absl::Status TakeJsonLine(absl::string_view line) {
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos) return absl::OkStatus();
    bool replaced = false;
    std::string mended;  // with its padding
    const absl::Cleanup give_back = [&, size = line.size()] {
      if (size > kKeptParserBytes) parser_ = std::make_unique<simdjson::dom::parser>();
    };
    if (const size_t at = FirstInvalidUtf8(line); at != line.size()) {
      if (options_.on_error != OnError::kReplace) return Bad(line, NotUtf8(at), kConvert);
      mended = ReplaceInvalidUtf8(line);
      line = Padded(&mended);
      replaced = true;
    }
    element root;
    simdjson::error_code error = ParseLine(line).get(root);
    const bool text_or_number = error == simdjson::STRING_ERROR || IsOfNumber(error);
    if (text_or_number && options_.on_error == OnError::kReplace) {
      if (std::string whole = ReplaceHalfSurrogatePairs(line); absl::string_view(whole) != line) {
        mended = std::move(whole);
        line = Padded(&mended);
        replaced = true;
        error = ParseLine(line).get(root);
      }
    }
    if (IsOfNumber(error)) {
      if (std::string narrow = WithNarrowNumbers(line); !narrow.empty()) {
        mended = std::move(narrow);
        line = Padded(&mended);
        error = ParseLine(line).get(root);
      }
    }
    if (error != simdjson::SUCCESS) {
      return Bad(line, absl::StrCat("not valid JSON (", simdjson::error_message(error), ")"));
    }
    object fields;
    std::optional<absl::string_view> text;
    if (root.get_object().get(fields) == simdjson::SUCCESS) text = FindString(fields, text_key_);
    if (!text.has_value()) {
      return Bad(line, absl::StrCat("not an object with a string \"", options_.text_key, "\""),
                 ", name the key that holds the text with --text-key");
    }
    if (replaced) Note(line, "bytes that are not UTF-8, or half surrogate pairs", /*replaced=*/true);
    AddDocument(*text, FindString(fields, source_key_).value_or(""));
    return absl::OkStatus();
  }

  simdjson::simdjson_result<element> ParseLine(absl::string_view line) {
    return parser_->parse(line.data(), line.size(), /*realloc_if_needed=*/false);
  }

  static absl::string_view Padded(std::string* line) {
    const size_t size = line->size();
    line->append(TextBlock::kPadding, '\0');
    return absl::string_view(*line).substr(0, size);
  }

  void AddDocument(absl::string_view text, absl::string_view source) {
    absl::ConsumeSuffix(&text, "\n");
    if (text.empty()) return;
    parts_->push_back({.text = std::string(text),
                       .source = std::string(source),
                       .begins = true,
                       .ends = true,
                       .hash = options_.hash ? HashOf(text) : TextHash()});
  }

  absl::Status ParseText(const TextBlock& block) {
    begins_ = !block.begin.continues;
    current_.clear();
    has_lines_ = !begins_;
    absl::string_view text = block.text();
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      ++line_;
      PHOTON_RETURN_IF_ERROR(TakeTextLine(text.substr(0, end)));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    if (has_lines_) EndText(block.ends_document);
    return absl::OkStatus();
  }

  absl::Status TakeTextLine(absl::string_view line) {
    std::string mended;
    if (const size_t at = FirstInvalidUtf8(line); at != line.size()) {
      if (options_.on_error != OnError::kReplace) {
        PHOTON_RETURN_IF_ERROR(Bad(line, NotUtf8(at), kConvert));
        AddLine("");  // without it the lines around would be joined
        return absl::OkStatus();
      }
      Note(line, NotUtf8(at), /*replaced=*/true);
      mended = ReplaceInvalidUtf8(line);
      line = mended;
    }
    if (IsSeparator(line, options_.separator)) {
      EndText(/*ends=*/true);
    } else {
      AddLine(line);
    }
    return absl::OkStatus();
  }

  void AddLine(absl::string_view line) {
    absl::StrAppend(&current_, has_lines_ ? "\n" : "", line);
    has_lines_ = true;
  }

  // What was gathered is the end of a document, or of the block.
  void EndText(bool ends) {
    if (!begins_ || !current_.empty()) {
      const bool whole = begins_ && ends;
      const TextHash hash = options_.hash && whole ? HashOf(current_) : TextHash();
      parts_->push_back({.text = current_, .source = "", .begins = begins_, .ends = ends, .hash = hash});
    }
    current_.clear();
    begins_ = true;
    has_lines_ = false;
  }

  static constexpr char kConvert[] = " (where the whole file is of another encoding: iconv -f latin1 -t utf-8)";
  static std::string NotUtf8(size_t at) { return absl::StrCat("byte ", at + 1, " is not UTF-8"); }

  absl::Status Bad(absl::string_view line, const std::string& problem, absl::string_view remedy = "") {
    if (options_.on_error != OnError::kFail) {
      Note(line, problem, /*replaced=*/false);
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat("input ", *path_, ", line ", line_, ": ", problem, ": mend it",
                                                   remedy, ", or leave such lines out with --on-error skip"));
  }

  void Note(absl::string_view line, std::string problem, bool replaced) {
    bad_->push_back({line_, std::move(problem), Excerpt(line), replaced});
  }

  const CorpusOptions options_;
  const std::vector<std::string> text_key_, source_key_;
  std::unique_ptr<simdjson::dom::parser> parser_;
  // The block being parsed.
  const std::string* path_ = nullptr;
  std::vector<TextPart>* parts_ = nullptr;
  std::vector<BadLine>* bad_ = nullptr;
  int64_t line_ = 0;
  std::string current_;     // of plain text: the document's lines in this block so far
  bool begins_ = true;      // current_ begins it
  bool has_lines_ = false;  // it has a line before
};

BlockParser::BlockParser(CorpusOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
BlockParser::BlockParser(BlockParser&&) noexcept = default;
BlockParser::~BlockParser() = default;

absl::Status BlockParser::Parse(const TextBlock& block, const std::string& path, std::vector<TextPart>* parts,
                                std::vector<BadLine>* bad) {
  return impl_->Parse(block, path, parts, bad);
}

}  // namespace photon
