#include "inference/eval/clean_up.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "data/bpe/unicode.h"
#include "data/utf8.h"

namespace photon::eval {
namespace {

// str.isspace, which \s follows: beside White_Space the four separators of ASCII.
bool IsPythonSpace(char32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

std::string ReplaceAll(absl::string_view text, absl::string_view from, absl::string_view to) {
  return absl::StrReplaceAll(text, {{from, to}});
}

// re.sub(r"/' [0-9]/", r"/'[0-9]/", text): what stands for the digit is literal, in the harness too.
std::string ReplaceQuotedDigit(absl::string_view text) {
  constexpr size_t kLength = 5;
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const absl::string_view at = text.substr(i, kLength);
    if (at.size() == kLength && at.substr(0, 3) == "/' " && absl::ascii_isdigit(at[3]) && at[4] == '/') {
      absl::StrAppend(&result, "/'[0-9]/");
      i += kLength;
    } else {
      result += text[i++];
    }
  }
  return result;
}

// re.sub(OPEN\s*([^CLOSE]*?)\s*CLOSE, OPEN\1CLOSE, text): no white space just inside.
std::string StripInside(absl::string_view text, char open, char close) {
  std::string result;
  while (true) {
    const size_t begin = text.find(open);
    const size_t end = begin == text.npos ? text.npos : text.find(close, begin + 1);
    if (end == text.npos) break;
    absl::StrAppend(&result, text.substr(0, begin + 1), Strip(text.substr(begin + 1, end - begin - 1)),
                    text.substr(end, 1));
    text.remove_prefix(end + 1);
  }
  return absl::StrCat(result, text);
}

// re.sub(r"\[.*?\]", "", text): within a line.
std::string RemoveBrackets(absl::string_view text) {
  std::string result;
  while (true) {
    const size_t begin = text.find('[');
    if (begin == text.npos) return absl::StrCat(result, text);
    const size_t end = text.find_first_of("]\n", begin + 1);
    const bool found = end != text.npos && text[end] == ']';
    absl::StrAppend(&result, text.substr(0, found ? begin : begin + 1));
    text.remove_prefix(found ? end + 1 : begin + 1);
  }
}

}  // namespace

absl::string_view StripLeft(absl::string_view text) {
  while (!text.empty()) {
    const Utf8Character first = FirstCharacter(text);
    if (!IsPythonSpace(first.value)) break;
    text.remove_prefix(first.bytes);
  }
  return text;
}

absl::string_view StripRight(absl::string_view text) {
  while (!text.empty()) {
    const Utf8Character last = LastCharacter(text);
    if (!IsPythonSpace(last.value)) break;
    text.remove_suffix(last.bytes);
  }
  return text;
}

absl::string_view Strip(absl::string_view text) { return StripLeft(StripRight(text)); }

int64_t CountWords(absl::string_view text) {
  int64_t words = 1;
  bool in_space = false;
  while (!text.empty()) {
    const Utf8Character first = FirstCharacter(text);
    const bool space = IsPythonSpace(first.value);
    if (space && !in_space) ++words;
    in_space = space;
    text.remove_prefix(first.bytes);
  }
  return words;
}

std::string DetokenizeWikitext(absl::string_view page) {
  std::string text = ReplaceQuotedDigit(ReplaceAll(page, "s '", "s'"));
  for (const auto& [from, to] : {std::pair{" @-@ ", "-"},
                                 {" @,@ ", ","},
                                 {" @.@ ", "."},
                                 {" : ", ": "},
                                 {" ; ", "; "},
                                 {" . ", ". "},
                                 {" ! ", "! "},
                                 {" ? ", "? "},
                                 {" , ", ", "}}) {
    text = ReplaceAll(text, from, to);  // one after the other: each sees what the one before left
  }
  for (const char* pair : {"()", "[]", "{}", "\"\"", "''"}) text = StripInside(text, pair[0], pair[1]);
  for (const auto& [from, to] : {std::pair{"= = = =", "===="},
                                 {"= = =", "==="},
                                 {"= =", "=="},
                                 {" \xC2\xB0 ", "\xC2\xB0"},
                                 {" \n", "\n"},
                                 {"\n ", "\n"},
                                 {" N ", " 1 "},
                                 {" 's", "'s"}}) {
    text = ReplaceAll(text, from, to);
  }
  return text;
}

std::string CleanHellaSwag(absl::string_view text) {
  return ReplaceAll(RemoveBrackets(ReplaceAll(Strip(text), " [title]", ". ")), "  ", " ");
}

}  // namespace photon::eval
