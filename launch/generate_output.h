// How `photon generate` prints what it generated.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "inference/generate.h"
#include "launch/selection_flags.h"

namespace photon {

// The object of --output json, but for how long it took; docs/generation.md has its fields. `tokenizer` may be null: no
// texts.
nlohmann::ordered_json GenerationJson(absl::Span<const Continuation> continuations, int64_t prompt_tokens,
                                      const GenerateOptions& options, const Selection& selection,
                                      const Tokenizer* tokenizer);

// Texts that are written side by side, to be read one after the other: each as it comes, once those before it are
// complete. Each has a heading where there are several, and ends with a line break.
class TextsInOrder {
 public:
  TextsInOrder(std::ostream& out, int64_t count) : out_(out), texts_(count) {}
  // `text`: what there is more of text `index`; `done`: it is complete.
  void Add(int64_t index, absl::string_view text, bool done);

 private:
  struct Text {
    std::string waiting;
    bool begun = false, done = false;
  };

  std::ostream& out_;
  std::vector<Text> texts_;
  size_t shown_ = 0;  // the one that is being shown
};

// "12 tokens and end-of-text; prompt of 3 in .. s, then .. tokens/s; state .. bytes, windows .." for people.
std::string Summary(const GenerateResult& result, int64_t prompt_tokens);

}  // namespace photon
