#include "inference/engine/admission.h"

#include "absl/strings/str_cat.h"
#include "core/human.h"
#include "core/status.h"
#include "inference/generate.h"
#include "inference/option_error.h"

namespace photon {

int64_t Admission::BytesOf(const EngineRequest& request) const {
  return size_.Most(request.options.mode, static_cast<int64_t>(request.prompt.size()), request.options.max_new_tokens);
}

absl::Status Admission::Validate(const EngineRequest& request) const {
  const GenerateOptions& options = request.options;
  PHOTON_RETURN_IF_ERROR(CheckGeneration(model_, request.prompt, options, tokenizer_));
  if (options.continuations > options_.max_running) {
    return OptionError("n", absl::StrCat(options.continuations, " continuations go at once, and --max-running is ",
                                         options_.max_running, ": ask for fewer, or raise --max-running"));
  }
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t most = options_.max_context;
  if (most > 0 && prompt + options.max_new_tokens > most) {
    return OptionError(prompt < most ? "max-new-tokens" : "prompt",
                       absl::StrCat("the context is ", most, " tokens (--max-context), the prompt has ", prompt,
                                    " and --max-new-tokens asks for ", options.max_new_tokens,
                                    " more: shorten the one or lower the other"),
                       absl::StatusCode::kOutOfRange);
  }
  const int64_t bytes = BytesOf(request), memory = options_.state_bytes;
  if (bytes * options.continuations <= memory) return absl::OkStatus();
  const std::string message = absl::StrCat(
      "the states of ", prompt + options.max_new_tokens, " tokens in ", options.continuations, " continuation(s) take ",
      HumanBytes(bytes * options.continuations), ", and --state-memory is ", HumanBytes(memory), ": ");
  if (bytes <= memory) return OptionError("n", absl::StrCat(message, "ask for fewer, or raise --state-memory"));
  return OptionError(size_.Most(options.mode, prompt, /*new_tokens=*/1) <= memory ? "max-new-tokens" : "prompt",
                     absl::StrCat(message, "lower --max-new-tokens, shorten the prompt, or raise --state-memory"),
                     absl::StatusCode::kOutOfRange);
}

}  // namespace photon
