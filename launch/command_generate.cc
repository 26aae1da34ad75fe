// photon generate
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/utf8.h"
#include "inference/bad_words.h"
#include "inference/engine/state_size.h"
#include "inference/generate.h"
#include "inference/json_text.h"
#include "inference/loaded_model.h"
#include "inference/prompt_text.h"
#include "inference/vocabulary.h"
#include "launch/commands.h"
#include "launch/engine_flags.h"
#include "launch/generate_lines.h"
#include "launch/generate_output.h"
#include "launch/model_options.h"
#include "launch/sampling_flags.h"
#include "launch/selection_flags.h"
#include "launch/token_json.h"

namespace photon {
namespace {

struct GenerateArguments {
  std::string checkpoint, prompt, prompt_tokens, input, on_error, mode, output, dtype, device;
  bool has_prompt = false, check = false;
  SamplingFlags flags;
  SelectionFlags selection;
  EngineFlags engine;
};

absl::Status RequireTokenizer(const LoadedModel& loaded, const GenerateArguments& arguments) {
  if (loaded.tokenizer() != nullptr) return absl::OkStatus();
  if (!arguments.has_prompt && arguments.output != "text") return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the checkpoint ", arguments.checkpoint,
                   " carries no tokenizer: use --prompt-tokens with --output tokens or json, or give it one with "
                   "`photon checkpoint export`, then `import --tokenizer FILE`"));
}

absl::Status CheckUtf8(const std::string& prompt) {
  const size_t bad = FirstInvalidUtf8(prompt);
  if (bad == prompt.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--prompt: byte ", bad + 1,
                                                 " is not UTF-8; where the text is of another encoding, convert it: "
                                                 "iconv -f latin1 -t utf-8"));
}

absl::Status PrintTokens(const LoadedModel& loaded, absl::Span<const int32_t> prompt, const GenerateOptions& options,
                         const Selection& selection) {
  PHOTON_ASSIGN_OR_RETURN(const GenerateResult result, Generate(loaded.decoder(), prompt, options, loaded.tokenizer()));
  std::optional<Vote> vote;
  for (const int64_t i : Select(result.continuations, selection.count, selection.vote, &vote)) {
    std::cout << TokenJson(result.continuations[i].tokens) << "\n";
  }
  return absl::OkStatus();
}

absl::Status PrintJson(const LoadedModel& loaded, absl::Span<const int32_t> prompt, const GenerateOptions& options,
                       const Selection& selection) {
  PHOTON_ASSIGN_OR_RETURN(const GenerateResult result, Generate(loaded.decoder(), prompt, options, loaded.tokenizer()));
  nlohmann::ordered_json json = GenerationJson(result.continuations, static_cast<int64_t>(prompt.size()), options,
                                               selection, loaded.tokenizer().get());
  json["usage"].update({{"prefill_seconds", result.prefill_seconds},
                        {"decode_seconds", result.decode_seconds},
                        {"state_bytes", result.bytes.context},
                        {"window_bytes", result.bytes.windows}});
  std::cout << Dump(json) << "\n";
  return absl::OkStatus();
}

// Text on stdout, as it comes where all of it is shown; how fast it was on stderr.
absl::Status PrintText(const LoadedModel& loaded, absl::Span<const int32_t> prompt, const GenerateOptions& options,
                       const Selection& selection) {
  const bool all = !selection.vote.has_value() && selection.count == options.continuations;
  TextsInOrder texts(std::cout, selection.count);
  Sink sink;
  if (all) sink = [&](int64_t c, auto, absl::string_view text, bool done) { texts.Add(c, text, done); };
  PHOTON_ASSIGN_OR_RETURN(const GenerateResult result,
                          Generate(loaded.decoder(), prompt, options, loaded.tokenizer(), sink));
  std::optional<Vote> vote;
  const std::vector<int64_t> chosen = Select(result.continuations, selection.count, selection.vote, &vote);
  for (size_t i = 0; !all && i < chosen.size(); ++i) texts.Add(i, result.continuations[chosen[i]].text, /*done=*/true);
  if (vote.has_value()) {
    std::cerr << (vote->votes == 0
                      ? std::string("no continuation holds an answer")
                      : absl::StrCat("answer ", vote->answer, ": ", vote->votes, " of ", vote->answers, " answers"))
              << "\n";
  }
  std::cerr << Summary(result, static_cast<int64_t>(prompt.size())) << "\n";
  return absl::OkStatus();
}

int64_t MostStateBytes(const Decoder& decoder, absl::Span<const int32_t> prompt, const GenerateOptions& options) {
  const int64_t each =
      StateSize(decoder).Most(options.mode, static_cast<int64_t>(prompt.size()), options.max_new_tokens);
  return each * std::min<int64_t>(options.continuations, DecodedTogether(decoder.model(), options.mode));
}

// End-of-text stops what is to be read; --output tokens gives exactly as many as asked for.
void StopAtEndOfText(const LoadedModel& loaded, const GenerateArguments& arguments, GenerateOptions& options) {
  if (loaded.tokenizer() == nullptr || loaded.tokenizer()->eos() < 0) return;
  if (arguments.flags.ignore_eos || arguments.output == "tokens") return;
  options.stop.tokens.push_back(loaded.tokenizer()->eos());
}

absl::Status ContinueLines(LoadedModel& loaded, const GenerateArguments& arguments, GenerateOptions options,
                           const Selection& selection, const OpenedDevice& device) {
  StopAtEndOfText(loaded, arguments, options);
  PHOTON_ASSIGN_OR_RETURN(const EngineOptions engine, Resolve(arguments.engine));
  PHOTON_RETURN_IF_ERROR(CheckStateMemory(engine, loaded.decoder(), device));
  SetBatchInvariant(arguments.engine, arguments.dtype, loaded);
  return GenerateLines(loaded,
                       {.input = arguments.input,
                        .skip_errors = arguments.on_error == "skip",
                        .generate = options,
                        .selection = selection,
                        .engine = engine},
                       std::cout);
}

absl::Status RunGenerate(const GenerateArguments& arguments) {
  SamplingFlags flags = arguments.flags;
  PHOTON_RETURN_IF_ERROR(Resolve(&flags));
  GenerateOptions options = flags.options;
  PHOTON_ASSIGN_OR_RETURN(options.mode, ParseGenerationMode(arguments.mode));
  if (options.log_probabilities >= 0 && arguments.output != "json" && arguments.input.empty()) {
    return absl::InvalidArgumentError("--logprobs needs --output json: text and tokens have no place for them");
  }
  PHOTON_ASSIGN_OR_RETURN(const Selection selection, Resolve(arguments.selection, &options));
  if (selection.vote.has_value() && arguments.output == "tokens") {
    return absl::InvalidArgumentError("--vote reads texts: use --output text or json");
  }
  PHOTON_RETURN_IF_ERROR(CheckUtf8(arguments.prompt));
  std::vector<int32_t> prompt;
  if (arguments.input.empty() && !arguments.has_prompt) {
    PHOTON_ASSIGN_OR_RETURN(prompt, ReadTokenJson(arguments.prompt_tokens));
  }
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<OpenedDevice> device, OpenDevice(arguments.device, arguments.check));
  PHOTON_ASSIGN_OR_RETURN(const auto loaded,
                          LoadedModel::Load(arguments.checkpoint, ComputeType(arguments.dtype), *device));
  PHOTON_ASSIGN_OR_RETURN(options.sampling.bad_words, BadWordTokens(loaded->tokenizer().get(), flags.bad_words));
  if (!arguments.input.empty()) return ContinueLines(*loaded, arguments, options, selection, *device);
  PHOTON_RETURN_IF_ERROR(RequireTokenizer(*loaded, arguments));
  if (arguments.has_prompt) prompt = EncodeWithBos(*loaded->tokenizer(), arguments.prompt);
  const std::string source = arguments.has_prompt ? "the prompt" : absl::StrCat("token file ", arguments.prompt_tokens);
  PHOTON_RETURN_IF_ERROR(CheckTokenIds(prompt, loaded->model().config().vocab_size(), source));
  StopAtEndOfText(*loaded, arguments, options);
  WarnOfMemory("the states may take", MostStateBytes(loaded->decoder(), prompt, options), *device);
  if (arguments.output == "tokens") return PrintTokens(*loaded, prompt, options, selection);
  return arguments.output == "json" ? PrintJson(*loaded, prompt, options, selection)
                                    : PrintText(*loaded, prompt, options, selection);
}

}  // namespace

void AddGenerateCommand(CLI::App& app, Run* chosen) {
  const auto a = std::make_shared<GenerateArguments>();
  CLI::App& command = *AddCommand(app, "generate", "Continue a prompt", chosen, [a] { return RunGenerate(*a); });
  AddCheckpointOption(command, &a->checkpoint);
  CLI::App& prompts = *command.add_option_group("Prompt");
  prompts.add_option("--prompt", a->prompt, "Text")->each([a](const std::string&) { a->has_prompt = true; });
  prompts.add_option("--prompt-tokens", a->prompt_tokens, "FILE.json: an array of token ids, taken as they are");
  CLI::Option* input = prompts.add_option(
      "--input", a->input,
      "FILE.jsonl, or - for stdin: an object with \"text\" or \"tokens\" a line; continued many at once, "
      "a line of JSON each");
  prompts.require_option(1);
  command.add_option("--on-error", a->on_error, "With --input: skip goes on after a line that can't be continued")
      ->default_val("fail")
      ->check(CLI::IsMember({"fail", "skip"}))
      ->needs(input);
  command
      .add_option("--mode", a->mode, "hier: exact; hier-parallel: chunks side by side; rec: least memory, approximate")
      ->default_val("hier")
      ->check(CLI::IsMember({"hier", "hier-parallel", "rec"}));
  AddSamplingFlags(command, &a->flags);
  AddSelectionFlags(command, &a->selection);
  for (CLI::Option* option : AddEngineFlags(command, &a->engine)) option->needs(input);
  command
      .add_option("--output", a->output,
                  "text, up to end-of-text; tokens: a JSON array of exactly as many ids as asked for; json: all there "
                  "is to know")
      ->default_val("text")
      ->check(CLI::IsMember({"text", "tokens", "json"}))
      ->excludes(input);
  AddDtypeOption(command, &a->dtype);
  AddDeviceOptions(command, &a->device);
  AddCheckOption(command, &a->check);
}

}  // namespace photon
