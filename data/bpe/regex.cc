#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/bpe/regex.h"

#include <pcre2.h>

#include <new>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace photon {
namespace {

// JIT code keeps what it backtracks to on a stack of its own; what needs more is run by the interpreter, on the heap.
constexpr size_t kFirstStack = 32 << 10, kLargestStack = 1 << 20;

absl::Status NotSupported(absl::string_view what, size_t at) {
  return absl::InvalidArgumentError(absl::StrCat("`", what, "` at byte ", at, " is not supported in a pattern"));
}

// Characters after a backslash whose meaning both libraries share (\w, \b, \h, \v, \X .. differ).
bool IsCommonEscape(char c) {
  return !absl::ascii_isalnum(c) || absl::StrContains("sSdDpPnrtfAz", absl::string_view(&c, 1));
}

// \p{L}, \p{^Lu}, \pL: general categories only. PCRE2 reads a script's name as its extensions.
bool IsCategory(absl::string_view rest) {
  if (rest.empty()) return false;
  if (rest[0] != '{') return absl::ascii_isupper(rest[0]);
  rest.remove_prefix(1);
  if (!rest.empty() && rest[0] == '^') rest.remove_prefix(1);
  const size_t length = rest.find('}');
  if (length == 0 || length > 2) return false;  // npos too
  return absl::ascii_isupper(rest[0]) && (length == 1 || absl::ascii_islower(rest[1]));
}

bool IsCommonGroup(absl::string_view rest) {
  for (const char* group : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"}) {
    if (absl::StartsWith(rest, group)) return true;
  }
  return !absl::StartsWith(rest, "(?") && !absl::StartsWith(rest, "(*");
}

// Refuses what Oniguruma and PCRE2 read differently.
absl::Status CheckCommon(absl::string_view pattern) {
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const absl::string_view rest = pattern.substr(i);
    if (rest[0] == '\\') {
      const bool code_point = absl::StartsWith(rest, "\\x{");
      if (rest.size() < 2 || !(code_point || IsCommonEscape(rest[1]))) return NotSupported(rest.substr(0, 2), i);
      ++i;
      if (absl::ascii_tolower(rest[1]) != 'p') continue;
      const size_t length = rest.size() > 2 && rest[2] == '{' ? rest.find('}') : 2;
      if (!IsCategory(rest.substr(2))) return NotSupported(rest.substr(0, length + 1), i - 1);
      i += length - 1;
    } else if (in_class) {
      if (rest[0] == '[' || absl::StartsWith(rest, "&&")) return NotSupported(rest.substr(0, 2), i);
      in_class = rest[0] != ']';
    } else if (rest[0] == '[') {
      in_class = true;
      i += absl::StartsWith(rest, "[^") ? 1 : 0;
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') return NotSupported("[]", i);
    } else if (!IsCommonGroup(rest)) {
      return NotSupported(rest.substr(0, 4), i);
    } else if (absl::StartsWith(rest, "}+")) {
      return NotSupported("}+", i);
    }
  }
  return absl::OkStatus();
}

}  // namespace

RegexScratch::RegexScratch()
    : match_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      stack_(pcre2_jit_stack_create(kFirstStack, kLargestStack, nullptr)) {
  if (match_ == nullptr || context_ == nullptr || stack_ == nullptr) throw std::bad_alloc();
  pcre2_jit_stack_assign(context_, nullptr, stack_);
  // Only memory bounds what a match may take.
  pcre2_set_match_limit(context_, UINT32_MAX);
  pcre2_set_depth_limit(context_, UINT32_MAX);
  pcre2_set_heap_limit(context_, UINT32_MAX);
}

RegexScratch::~RegexScratch() {
  pcre2_match_data_free(match_);
  pcre2_match_context_free(context_);
  pcre2_jit_stack_free(stack_);
}

Regex::Regex(pcre2_real_code_8* code) : code_(code, pcre2_code_free) {}

absl::StatusOr<Regex> Regex::Compile(const std::string& pattern) {
  PHOTON_RETURN_IF_ERROR(CheckCommon(pattern));
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  size_t offset = 0;
  // MULTILINE: Oniguruma's ^ and $ are the ends of lines.
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, context.get());
  if (code == nullptr) {
    PCRE2_UCHAR message[128];
    pcre2_get_error_message(error, message, sizeof message);
    return absl::InvalidArgumentError(
        absl::StrCat("not a regular expression (byte ", offset, ": ", reinterpret_cast<const char*>(message), ")"));
  }
  Regex regex(code);
  uint32_t matches_empty = 0;
  pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0) return absl::InvalidArgumentError("a pattern that matches an empty text is not supported");
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it can't, the interpreter runs
  return regex;
}

bool Regex::Find(absl::string_view text, size_t from, RegexScratch& scratch, size_t* begin, size_t* end) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int found =
      pcre2_match(code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK, scratch.match_, scratch.context_);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
    found = pcre2_match(code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.match_,
                        scratch.context_);
  }
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found == PCRE2_ERROR_NOMEMORY || found == PCRE2_ERROR_HEAPLIMIT) throw std::bad_alloc();
  PHOTON_CHECK(found >= 0) << "PCRE2 error " << found;
  const size_t* offsets = pcre2_get_ovector_pointer(scratch.match_);
  *begin = offsets[0];
  *end = offsets[1];
  return true;
}

}  // namespace photon
