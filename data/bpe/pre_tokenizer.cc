#include "data/bpe/pre_tokenizer.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/bpe/newer_characters.h"
#include "data/bpe/unicode.h"
#include "data/utf8.h"

namespace photon {

// Why cuts are safe: what a match is follows from the text after its start, and in all three patterns a cut of these
// kinds always lies between two matches, of which the first does not depend on what follows.
// - No match goes on from a character that is not white space to a space, or in GPT-2's to a newline.
// - In the others no match goes from a letter or number to a newline. Punctuation takes the newlines after it, but
//   white space with newlines in it always ends a match after the last one.
const PreTokenizer::KnownPattern PreTokenizer::kKnownPatterns[] = {
    {"gpt-2", CutRule::kGpt2, kByteLevelPattern},
    {"llama-bpe", CutRule::kLlama3,
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
     "\\s+(?!\\S)|\\s+"},
    {"qwen2", CutRule::kLlama3,
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
     "\\s+(?!\\S)|\\s+"},
};

// What the recursion over steps carries along.
struct PreTokenizer::Walk {
  RegexScratch& scratch;
  absl::FunctionRef<void(absl::string_view)> word;
};

// What lies between two ends of matches.
struct PreTokenizer::Part {
  size_t begin, end;
  bool match;
};

absl::StatusOr<PreTokenizer> PreTokenizer::Create(const std::vector<SplitStep>& steps) {
  PreTokenizer result;
  for (const SplitStep& spec : steps) {
    Step step{spec, {}};
    if (!spec.pattern.empty()) {
      absl::StatusOr<Regex> regex = Regex::Compile(spec.pattern);
      if (!regex.ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat("the pattern \"", spec.pattern, "\": ", regex.status().message()));
      }
      step.regex.push_back(*std::move(regex));
    }
    result.steps_.push_back(std::move(step));
  }
  result.FindCutRule();
  result.NameWordPattern();
  return result;
}

// Null where the step is none of these, or cuts in another way. Their matches cover the text, so that invert changes
// nothing.
const PreTokenizer::KnownPattern* PreTokenizer::FindKnown(const SplitStep& step) {
  if (step.behavior != SplitStep::Behavior::kIsolated) return nullptr;
  for (const KnownPattern& known : kKnownPatterns) {
    if (step.pattern == known.pattern) return &known;
  }
  return nullptr;
}

// A step with a known pattern cuts there; the others must do no harm: a digit is never next to such a cut's white space
// in one match.
void PreTokenizer::FindCutRule() {
  for (size_t i = 0; i < steps_.size(); ++i) {
    const SplitStep& step = steps_[i].spec;
    const bool harmless = step.pattern.empty() || step.pattern == kDigitsPattern;
    if (step.prefix_space && i > 0) cut_rule_ = CutRule::kNone;  // would be put before pieces inside the text
    if (step.prefix_space && i > 0) return;
    prefixes_space_ |= step.prefix_space;
    if (harmless) continue;
    const KnownPattern* known = FindKnown(step);
    if (known == nullptr || (cut_rule_ != CutRule::kNone && cut_rule_ != known->rule)) {
      cut_rule_ = CutRule::kNone;
      return;
    }
    cut_rule_ = known->rule;
  }
}

// Any other step that does something, Digits too, makes other words.
void PreTokenizer::NameWordPattern() {
  const KnownPattern* known = nullptr;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const SplitStep& step = steps_[i].spec;
    if (step.prefix_space && i > 0) return;
    if (step.pattern.empty()) continue;
    if (known != nullptr) return;
    known = FindKnown(step);
    if (known == nullptr) return;
  }
  if (known != nullptr) word_pattern_ = known->name;
}

bool PreTokenizer::CutsAt(absl::string_view text, size_t i) const {
  if (cut_rule_ == CutRule::kNone) return false;
  const auto before = [&] { return LastCharacter(text.substr(0, i)).value; };
  if (text[i] == ' ') return !IsWhiteSpace(before());
  if (prefixes_space_) return false;
  if (cut_rule_ == CutRule::kGpt2) return text[i] == '\n' && !IsWhiteSpace(before());
  if (text[i] == '\n') return IsLetterOrNumber(before());
  return text[i - 1] == '\n' && !IsWhiteSpace(FirstCharacter(text.substr(i)).value);
}

void PreTokenizer::ForEachWord(absl::string_view text, RegexScratch& scratch,
                               absl::FunctionRef<void(absl::string_view)> word) const {
  if (text.empty()) return;
  std::string shadow;
  const bool newer = StandInForNewer(text, &shadow);
  Run(0, {text, newer ? absl::string_view(shadow) : text}, {scratch, word});
}

void PreTokenizer::Run(size_t step, Text text, const Walk& walk) const {
  if (step == steps_.size()) {
    walk.word(text.real);
    return;
  }
  if (!steps_[step].spec.prefix_space || text.real[0] == ' ') {
    Split(step, text, walk);
    return;
  }
  const std::string real = absl::StrCat(" ", text.real), shown = absl::StrCat(" ", text.shown);
  Split(step, {real, shown}, walk);
}

namespace {

// Joins parts as the behaviour wants; those that are left are pieces, except matches where they are to be removed.
template <typename Part>
std::vector<Part> Join(const std::vector<Part>& parts, SplitStep::Behavior behavior) {
  using Behavior = SplitStep::Behavior;
  std::vector<Part> joined;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const bool after_match = i > 0 && parts[i - 1].match;
    const bool joins = i > 0 && ((behavior == Behavior::kContiguous && part.match == after_match) ||
                                 (behavior == Behavior::kMergedWithPrevious && part.match && !after_match) ||
                                 (behavior == Behavior::kMergedWithNext && !part.match && after_match));
    if (joins) {
      joined.back().end = part.end;
    } else if (behavior != Behavior::kRemoved || !part.match) {
      joined.push_back(part);
    }
  }
  return joined;
}

}  // namespace

void PreTokenizer::Split(size_t step, Text text, const Walk& walk) const {
  const SplitStep& spec = steps_[step].spec;
  if (steps_[step].regex.empty()) {
    Run(step + 1, text, walk);
    return;
  }
  const Regex& regex = steps_[step].regex[0];
  const bool isolated = spec.behavior == SplitStep::Behavior::kIsolated;
  std::vector<Part> parts;
  const auto add = [&](size_t begin, size_t end, bool match) {
    if (begin == end) return;
    if (isolated) {
      Run(step + 1, text.Part(begin, end), walk);
    } else {
      parts.push_back({begin, end, match != spec.invert});
    }
  };
  size_t at = 0, begin = 0, end = 0;
  while (at < text.shown.size() && regex.Find(text.shown, at, walk.scratch, &begin, &end)) {
    add(at, begin, false);
    add(begin, end, true);
    at = end;
  }
  add(at, text.shown.size(), false);
  for (const Part& part : Join(parts, spec.behavior)) {
    Run(step + 1, text.Part(part.begin, part.end), walk);
  }
}

}  // namespace photon
