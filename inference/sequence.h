// One continuation on its way, apart from the model: what was chosen, its text, what penalties count, and whether it
// has ended. Whoever decodes many sequences together holds one of these beside each DecodingState.
//
// The choice of token `i` of continuation `c` is a function of (seed, c, i), the tokens before it and its own logits:
// of no other sequence, and not of how many there are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "data/tokenizer.h"
#include "inference/generate_options.h"
#include "inference/sampler.h"
#include "inference/stop_text.h"
#include "inference/token_history.h"
#include "inference/token_score.h"

namespace photon {

// A token, and, where they were asked for, log-probabilities (inference/token_score.h).
struct Choice {
  int32_t token = 0;
  double log_probability = 0;
  std::vector<RankedToken> most_likely = {};
};

enum class Finish { kLength, kStopToken, kStopString };

struct Continuation {
  std::vector<int32_t> tokens;  // up to the limit or a stop token; the token that completes a stop string is the last
  std::vector<Choice> choices;  // one a token, where log-probabilities were asked for
  std::string text;             // of the tokens, cut before a stop string; empty without a tokenizer
  Finish finish = Finish::kLength;
  int32_t stop_token = -1;  // with kStopToken
  int stop_string = -1;     // with kStopString: its place in StopOptions.strings
};

template <typename A>
struct ChoiceWorkspace {
  Sampler<A> sampler;
  TokenScorer<A> scorer;
  std::vector<A> logits;  // a row as it is changed
};

class Sequence {
 public:
  // Continuation 0 of the prompt. `options`, valid, outlive it. `tokenizer` may be null: no text.
  Sequence(const GenerateOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
           absl::Span<const int32_t> prompt);
  // Another of the same prompt, which is not read again; of one that has no tokens yet.
  Sequence ForContinuation(int64_t continuation) const;

  bool done() const { return done_; }
  int64_t count() const { return static_cast<int64_t>(result_.tokens.size()); }

  // The token `ahead` places after the next. `chunk`: the tokens chosen for the places right before it that have not
  // been taken yet and that it may know of: its own chunk's, where chunks are chosen side by side.
  template <typename A>
  Choice Choose(absl::Span<const A> logits, int64_t ahead, absl::Span<const int32_t> chunk,
                ChoiceWorkspace<A>& workspace) const;

  // True where that token follows from the logits, the settings that cut and the generator's number alone: nothing
  // moves the logits before, and no others' log-probabilities were asked for.
  bool IsPlain(int64_t ahead) const;
  const GenerateOptions& options() const { return options_; }
  uint64_t random_stream() const { return random_stream_; }

  // Takes the next tokens; what follows a stop or passes the limit is discarded and counts nowhere. Returns how many
  // tokens were taken; `text`: what may be shown now.
  int64_t Take(absl::Span<const Choice> choices, std::string* text);

  const Continuation& result() const { return result_; }

 private:
  bool HoldsBack(int64_t index) const;
  bool TakeOne(const Choice& choice, std::string* text);
  void End(Finish finish, std::string* text);

  const GenerateOptions& options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  TextStream stream_;
  StopText stop_;
  TokenHistory history_;
  uint64_t random_stream_;
  bool done_ = false;
  Continuation result_;
};

}  // namespace photon
