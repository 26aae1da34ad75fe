#include "inference/generate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "core/time.h"
#include "inference/batch_generation.h"
#include "inference/option_error.h"
#include "inference/vocabulary.h"

namespace photon {
namespace {

// Room for new tokens that is made up front; caches grow beyond it. A large limit is no promise of a long text.
constexpr int64_t kReservedTokens = 4096;

// In products of at most so many rows a row's result does not depend, in any bit, on the others (core/cpu/matmul.cc and
// the kernels it calls). Beyond, another kernel with another order of summation may run.
constexpr int64_t kMostRows = 16;

// Reads the prompt; then states are copies of where it ended.
DecodingState Prefill(const Context& context, const Decoder& decoder, absl::Span<const int32_t> prompt,
                      const GenerateOptions& options) {
  const int64_t foreseen = std::min(options.max_new_tokens, kReservedTokens);
  DecodingState state = decoder.NewState(static_cast<int64_t>(prompt.size()) + foreseen);
  decoder.Prefill(state, prompt);
  context.Synchronize();
  return state;
}

}  // namespace

// So that no product has more than kMostRows rows, or one sequence.
int64_t DecodedTogether(const LanguageModel& model, GenerationMode mode) {
  int64_t rows = 1, units = 1;  // of one sequence in the widest product: a level's windows begin with all prefixes
  for (int l = model.levels(); l >= 1; --l) {
    const LevelConfig& level = model.config().levels(l - 1);
    rows = std::max<int64_t>(rows, units * level.prefix());
    if (ByMetaContexts(model.levels(), mode)) units *= level.chunk();
  }
  return std::max<int64_t>(kMostRows / rows, 1);
}

absl::Status CheckGeneration(const LanguageModel& model, absl::Span<const int32_t> prompt,
                             const GenerateOptions& options, const Tokenizer* tokenizer) {
  PHOTON_RETURN_IF_ERROR(CheckTokenIds(prompt, model.config().vocab_size(), "the prompt"));
  PHOTON_RETURN_IF_ERROR(ValidateOptions(options, model.config()));
  if (!options.stop.strings.empty() && tokenizer == nullptr) {
    return OptionError("stop", "stop strings need a tokenizer, and the checkpoint carries none: give stop tokens");
  }
  if (model.levels() == 0 && prompt.empty()) {
    return OptionError(
        "prompt", "the prompt is empty: a flat model (no levels) has no start latent and needs at least one token");
  }
  return absl::OkStatus();
}

absl::StatusOr<GenerateResult> Generate(const Decoder& decoder, absl::Span<const int32_t> prompt,
                                        const GenerateOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
                                        const Sink& sink) {
  const Context& context = decoder.context();
  const LanguageModel& model = decoder.model();
  PHOTON_RETURN_IF_ERROR(CheckGeneration(model, prompt, options, tokenizer.get()));
  GenerateResult result;
  const double begin = Now();
  DecodingState read = Prefill(context, decoder, prompt, options);
  result.prefill_seconds = Now() - begin;

  const double decoding = Now();
  const Sequence sequence(options, tokenizer, prompt);
  const int64_t together = DecodedTogether(model, options.mode);
  for (int64_t first = 0; first < options.continuations; first += together) {
    const int64_t end = std::min(first + together, options.continuations);
    std::vector<Running> batch;
    batch.reserve(end - first);
    for (int64_t c = first; c < end; ++c) {
      const bool last = c + 1 == options.continuations;
      batch.push_back({last ? std::move(read) : read.Copy(context), sequence.ForContinuation(c)});
    }
    const BatchGeneration::Report report = [&](const Running& running, absl::Span<const int32_t> tokens,
                                               absl::string_view text) {
      if (sink) sink(first + (&running - batch.data()), tokens, text, running.done());
    };
    BatchGeneration generation(context, report);
    for (const Running& running : batch) {  // of no tokens at all: nothing reports its end
      if (running.done()) report(running, {}, "");
    }
    std::vector<Running*> members;
    for (Running& running : batch) members.push_back(&running);
    PHOTON_RETURN_IF_ERROR(generation.DecodeToEnd(decoder, options.mode, members));
    result.bytes.windows = std::max(result.bytes.windows, generation.most_window_bytes());
    for (const Running& running : batch) {
      result.bytes.context = std::max(result.bytes.context, running.state.bytes().context);
      result.continuations.push_back(running.sequence.result());
    }
  }
  result.decode_seconds = Now() - decoding;
  return result;
}

absl::StatusOr<GenerateResult> Generate(const Context& context, const LanguageModel& model,
                                        absl::Span<const int32_t> prompt, const GenerateOptions& options,
                                        std::shared_ptr<const Tokenizer> tokenizer, const Sink& sink,
                                        OpenedDevice* device) {
  return Generate(*Decoder::Create(context, model, device), prompt, options, std::move(tokenizer), sink);
}

}  // namespace photon
