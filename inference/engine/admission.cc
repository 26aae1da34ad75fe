#include "inference/engine/admission.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/human.h"
#include "core/status.h"
#include "inference/generate.h"
#include "inference/option_error.h"

namespace photon {

int64_t Admission::BytesOf(const EngineRequest& request) const {
  return size_.Most(request.options.mode, static_cast<int64_t>(request.prompt.size()), request.options.max_new_tokens);
}

// Where prompts are kept for others, each unit's row of the last encoder's output is.
int64_t Admission::ReadingBytesOf(const EngineRequest& request) const {
  return options_.share_prefixes ? size_.UnitRows(static_cast<int64_t>(request.prompt.size())) : 0;
}

int64_t Admission::Needed(const EngineRequest& request, int64_t continuations, int64_t new_tokens) const {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  return size_.Most(request.options.mode, prompt, new_tokens) * continuations + ReadingBytesOf(request);
}

int64_t Admission::MostNewTokens(const EngineRequest& request, int64_t most) const {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (options_.max_context > 0) most = std::min(most, options_.max_context - prompt);
  int64_t fit = 0;
  while (fit < most) {
    const int64_t tried = fit + (most - fit + 1) / 2;
    if (Needed(request, request.options.continuations, tried) <= options_.state_bytes) {
      fit = tried;
    } else {
      most = tried - 1;
    }
  }
  return fit;
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
  const int64_t memory = options_.state_bytes;
  const int64_t bytes = Needed(request, options.continuations, options.max_new_tokens);
  if (bytes <= memory) return absl::OkStatus();
  const std::string message =
      absl::StrCat("the states of ", prompt + options.max_new_tokens, " tokens in ", options.continuations,
                   " continuation(s) take ", HumanBytes(bytes), ", and --state-memory is ", HumanBytes(memory), ": ");
  if (Needed(request, /*continuations=*/1, options.max_new_tokens) <= memory) {
    return OptionError("n", absl::StrCat(message, "ask for fewer, or raise --state-memory"));
  }
  return OptionError(Needed(request, /*continuations=*/1, /*new_tokens=*/1) <= memory ? "max-new-tokens" : "prompt",
                     absl::StrCat(message, "lower --max-new-tokens, shorten the prompt, or raise --state-memory"),
                     absl::StatusCode::kOutOfRange);
}

}  // namespace photon
