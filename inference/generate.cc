#include "inference/generate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "core/time.h"
#include "inference/meta_context_decoder.h"
#include "inference/rows.h"
#include "inference/vocabulary.h"

namespace photon {
namespace {

// Room for new tokens that is made up front; caches grow beyond it. A large limit is no promise of a long text.
constexpr int64_t kReservedTokens = 4096;

absl::Status Validate(const LanguageModel& model, absl::Span<const int32_t> prompt, const GenerateOptions& options) {
  PHOTON_RETURN_IF_ERROR(CheckTokenIds(prompt, model.config().vocab_size(), "the prompt"));
  PHOTON_RETURN_IF_ERROR(ValidateSampling(options.sampling));
  if (options.max_new_tokens < 0) {
    return absl::InvalidArgumentError(absl::StrCat("max-new-tokens is ", options.max_new_tokens, ": give 0 or more"));
  }
  if (model.levels() == 0 && prompt.empty()) {
    return absl::InvalidArgumentError(
        "the prompt is empty: a flat model (no levels) has no start latent and needs at least one token");
  }
  const bool shifts_all = model.config().shift() == ModelConfig::ALL && model.levels() >= 2;
  if (shifts_all && options.mode != GenerationMode::kHier) {
    return absl::InvalidArgumentError(absl::StrCat("mode ", Name(options.mode),
                                                   " is defined for models with shift: TOP; this one has shift: ALL. "
                                                   "Use mode hier"));
  }
  return absl::OkStatus();
}

// Picks tokens, hands them on, and knows when to end.
class Collector {
 public:
  Collector(const Context& context, const GenerateOptions& options, const TokensSink& sink, GenerateResult& result)
      : context_(context), options_(options), sink_(sink), result_(result) {}

  int64_t count() const { return static_cast<int64_t>(result_.tokens.size()); }
  bool done() const { return result_.stopped || count() >= options_.max_new_tokens; }

  // For every row the token at `offsets` places from the next.
  std::vector<int32_t> Choose(const Tensor& logits, absl::Span<const int64_t> offsets) const {
    const std::vector<double> values = ToHostDoubles(context_, logits);
    const size_t vocabulary = logits.dim(1);
    std::vector<int32_t> tokens;
    for (size_t row = 0; row < offsets.size(); ++row) {
      const absl::Span<const double> own = absl::MakeConstSpan(values).subspan(row * vocabulary, vocabulary);
      tokens.push_back(Sample(own, options_.sampling, count() + offsets[row]));
    }
    return tokens;
  }

  // Takes what is wanted of a burst.
  void Take(absl::Span<const int32_t> tokens) {
    tokens = tokens.subspan(0, std::min<int64_t>(tokens.size(), options_.max_new_tokens - count()));
    if (options_.stop) {
      const auto stop = std::find(tokens.begin(), tokens.end(), *options_.stop);
      result_.stopped = stop != tokens.end();
      tokens = tokens.first(stop - tokens.begin());
    }
    result_.tokens.insert(result_.tokens.end(), tokens.begin(), tokens.end());
    if (sink_ && !tokens.empty()) sink_(tokens);
  }

 private:
  const Context& context_;
  const GenerateOptions& options_;
  const TokensSink& sink_;
  GenerateResult& result_;
};

// Token by token, until enough is there or, with `boundary`, the sequence holds whole meta-contexts of that many
// tokens.
void DecodeTokens(const Decoder& decoder, DecodingState& state, int64_t boundary, Collector& collector,
                  StateBytes& bytes) {
  DecodingState* const states[] = {&state};
  while (!collector.done() && !(boundary > 0 && state.tokens % boundary == 0)) {
    const std::vector<int32_t> token = collector.Choose(decoder.NextLogits(states), {0});
    bytes.windows = std::max(bytes.windows, state.bytes().windows);
    collector.Take(token);
    decoder.Accept(states, token);
  }
}

void DecodeMetaContexts(const Context& context, const PhotonDecoder& decoder, DecodingState& state, GenerationMode mode,
                        Collector& collector, StateBytes& bytes) {
  using Feedback = MetaContextDecoder::Feedback;
  MetaContextDecoder meta(context, decoder,
                          mode == GenerationMode::kRec ? Feedback::kReconstruction : Feedback::kTokens);
  DecodingState* const states[] = {&state};
  meta.TakeOver(states);
  const MetaContextDecoder::Choose choose = [&](const Tensor& logits,
                                                absl::Span<const MetaContextDecoder::Place> places) {
    std::vector<int64_t> offsets;
    for (const MetaContextDecoder::Place& place : places) offsets.push_back(place.offset);
    return collector.Choose(logits, offsets);
  };
  while (!collector.done()) {
    collector.Take(meta.Decode(states, choose));
    bytes.windows = std::max(bytes.windows, meta.window_bytes());
  }
}

}  // namespace

absl::StatusOr<GenerationMode> ParseGenerationMode(absl::string_view name) {
  for (GenerationMode mode : {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec}) {
    if (name == Name(mode)) return mode;
  }
  return absl::InvalidArgumentError(absl::StrCat("mode is \"", name, "\": give hier, hier-parallel or rec"));
}

absl::string_view Name(GenerationMode mode) {
  switch (mode) {
    case GenerationMode::kHier:
      return "hier";
    case GenerationMode::kHierParallel:
      return "hier-parallel";
    case GenerationMode::kRec:
      return "rec";
  }
  return "";
}

absl::StatusOr<GenerateResult> Generate(const Context& context, const LanguageModel& model,
                                        absl::Span<const int32_t> prompt, const GenerateOptions& options,
                                        const TokensSink& sink) {
  PHOTON_RETURN_IF_ERROR(Validate(model, prompt, options));
  GenerateResult result;
  Collector collector(context, options, sink, result);
  const std::unique_ptr<Decoder> decoder = Decoder::Create(context, model);

  const double begin = Now();
  const int64_t foreseen = std::min(options.max_new_tokens, kReservedTokens);
  DecodingState state = decoder->NewState(static_cast<int64_t>(prompt.size()) + foreseen);
  decoder->Prefill(state, prompt);
  context.Synchronize();
  result.prefill_seconds = Now() - begin;

  const double decoding = Now();
  if (model.levels() <= 1 || options.mode == GenerationMode::kHier) {
    DecodeTokens(*decoder, state, /*boundary=*/0, collector, result.bytes);
  } else {
    const auto& photon = static_cast<const PhotonDecoder&>(*decoder);
    DecodeTokens(photon, state, photon.meta_context(), collector, result.bytes);
    if (!collector.done()) DecodeMetaContexts(context, photon, state, options.mode, collector, result.bytes);
  }
  result.decode_seconds = Now() - decoding;
  result.bytes.context = state.bytes().context;
  return result;
}

}  // namespace photon
