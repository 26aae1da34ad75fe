// Continuing one prompt, once or several times, in any generation mode (docs/generation.md).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/tokenizer.h"
#include "inference/decoder.h"
#include "inference/decoding_state.h"
#include "inference/generate_options.h"
#include "inference/sequence.h"
#include "model/language_model.h"

namespace photon {

struct GenerateResult {
  std::vector<Continuation> continuations;
  double prefill_seconds = 0;  // reading the prompt, once
  double decode_seconds = 0;
  // Of one continuation, the largest: context at its end; windows: the most held at once.
  StateBytes bytes;
};

// Called as tokens come, one at a time in hier, a meta-context's in the other modes: new tokens of a continuation, and
// the text that may be shown now. Text can lag behind tokens (a character's other half, what may become a stop string),
// and come without any at the end. `done`, once for each: it ends here.
using Sink =
    std::function<void(int64_t continuation, absl::Span<const int32_t> tokens, absl::string_view text, bool done)>;

// How many continuations Generate decodes side by side: so few that their bits are those of one alone.
int64_t DecodedTogether(const LanguageModel& model, GenerationMode mode);

// kInvalidArgument for what Generate refuses.
absl::Status CheckGeneration(const LanguageModel& model, absl::Span<const int32_t> prompt,
                             const GenerateOptions& options, const Tokenizer* tokenizer);

// The prompt is read once. Continuation c is the same whatever `continuations` is: several are decoded together only as
// far as their logits are bit for bit those of one alone. `tokenizer` may be null: no text then. A decoder may serve
// any number of calls, one after the other.
//
// kInvalidArgument for ids outside the vocabulary, options out of range, stop strings without a tokenizer, an empty
// prompt to a flat model, and modes other than hier where the model has shift ALL (and L >= 2). At L <= 1 every mode is
// hier. kDataLoss, naming the token, where the model's logits are no numbers.
absl::StatusOr<GenerateResult> Generate(const Decoder& decoder, absl::Span<const int32_t> prompt,
                                        const GenerateOptions& options,
                                        std::shared_ptr<const Tokenizer> tokenizer = nullptr,
                                        const Sink& sink = nullptr);
// With a decoder of its own. `device`, the context's, may be null: nothing is recorded then (inference/decoder.h).
absl::StatusOr<GenerateResult> Generate(const Context& context, const LanguageModel& model,
                                        absl::Span<const int32_t> prompt, const GenerateOptions& options,
                                        std::shared_ptr<const Tokenizer> tokenizer = nullptr,
                                        const Sink& sink = nullptr, OpenedDevice* device = nullptr);

}  // namespace photon
