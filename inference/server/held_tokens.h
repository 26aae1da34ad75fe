// Which of a continuation's tokens may be sent: those whose text may. Text that a stop string might begin with is held
// back (inference/stop_text.h), and what is behind a stop never comes; names and ids of tokens would tell it all the
// same. A token that is partly behind a stop is held back as a whole.
//
// Used by one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "data/tokenizer.h"
#include "inference/sequence.h"

namespace photon {

class HeldTokens {
 public:
  // `tokenizer` may be null: nothing is held back then, as there is no text to stop at.
  HeldTokens(std::shared_ptr<const Tokenizer> tokenizer, absl::Span<const int32_t> prompt);

  // The next tokens, and how many bytes of text may be shown with them: the tokens that may be sent now.
  std::vector<Choice> Release(absl::Span<const Choice> tokens, size_t shown);
  // What is left, where the text ended without a stop string.
  std::vector<Choice> Rest();

 private:
  std::vector<Choice> Take(size_t count);

  std::shared_ptr<const Tokenizer> tokenizer_;
  TextStream stream_;
  size_t text_ = 0, shown_ = 0;  // bytes of all tokens' text, and of what may be shown
  std::deque<Choice> held_;
  std::deque<size_t>
      ends_;  // of their text; the last may have none yet: parts of a character, which come with a later one
};

}  // namespace photon
