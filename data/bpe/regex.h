// Regular expressions as tokenizer.json has them: Oniguruma's, which PCRE2 runs. Patterns that the two would read
// differently are refused.
#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "core/status.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace photon {

// The memory that matching needs; used by one thread at a time.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_data_8* match_;
  pcre2_real_match_context_8* context_;
  pcre2_real_jit_stack_8* stack_;
};

class Regex {
 public:
  // kInvalidArgument names what is wrong with `pattern` or not supported in it: it must not match an empty text.
  static absl::StatusOr<Regex> Compile(const std::string& pattern);

  // The first match in text[from, end), or false. `text` is valid UTF-8. Throws std::bad_alloc where a pattern
  // backtracks over more text than there is memory for.
  bool Find(absl::string_view text, size_t from, RegexScratch& scratch, size_t* begin, size_t* end) const;

 private:
  explicit Regex(pcre2_real_code_8* code);
  std::shared_ptr<pcre2_real_code_8> code_;
};

}  // namespace photon
