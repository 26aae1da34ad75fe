// A conversation as one text, and where the reply to it ends (ChatTemplate in configs/data.proto). Any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "configs/data.pb.h"
#include "data/tokenizer.h"
#include "inference/generate_options.h"

namespace photon {

struct ChatMessage {
  std::string role, content;
};

// Up to where the reply begins. The messages' roles are the template's (others stand there by their content alone), and
// their contents stand there as they are: whoever writes the template's texts into one writes messages.
std::string ChatText(const ChatTemplate& chat, absl::Span<const ChatMessage> messages);

// Texts of the template that look like special tokens, "<|im_start|>", and aren't one token of `tokenizer`; each once.
std::vector<std::string> MarkersWithoutToken(const ChatTemplate& chat, const Tokenizer& tokenizer);

// What ends a reply: strings; and tokens for those that begin with one that gives no text ("<|im_end|>" where it is
// special), as no text would ever hold them. End-of-text is not among them: it ends all texts. kInvalidArgument for
// strings that are no UTF-8, and those in which such a token follows text.
absl::StatusOr<StopOptions> ReplyEnds(const ChatTemplate& chat, const Tokenizer& tokenizer);

}  // namespace photon
