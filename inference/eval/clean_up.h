// What lm-evaluation-harness does to texts before it asks a model about them, character by character as its Python does
// it. Texts are valid UTF-8.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace photon::eval {

// Python's str.lstrip, str.rstrip and str.strip.
absl::string_view StripLeft(absl::string_view text);
absl::string_view StripRight(absl::string_view text);
absl::string_view Strip(absl::string_view text);

// len(re.split(r"\s+", text)): one more than there are stretches of white space, also at the ends.
int64_t CountWords(absl::string_view text);

// tasks/wikitext/preprocess_wikitext.py, wikitext_detokenizer: joins what WikiText's tokens parted.
std::string DetokenizeWikitext(absl::string_view page);

// tasks/hellaswag/utils.py, preprocess: removes what WikiHow's pages left in brackets.
std::string CleanHellaSwag(absl::string_view text);

}  // namespace photon::eval
