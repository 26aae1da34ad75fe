// photon generate
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "inference/generate.h"
#include "inference/loaded_model.h"
#include "inference/vocabulary.h"
#include "launch/commands.h"
#include "launch/model_options.h"
#include "launch/token_json.h"

namespace photon {
namespace {

struct GenerateArguments {
  std::string checkpoint, prompt, prompt_tokens, mode, output, dtype, device;
  bool has_prompt = false, greedy = false;
  GenerateOptions options;
};

absl::Status RequireTokenizer(const LoadedModel& loaded, const GenerateArguments& arguments) {
  if (loaded.tokenizer() != nullptr || (!arguments.has_prompt && arguments.output == "tokens")) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the checkpoint ", arguments.checkpoint,
                                                    " carries no tokenizer: use --prompt-tokens with --output tokens"));
}

// Text begins with begin-of-text, as documents do in training; ids are taken as they are.
std::vector<int32_t> EncodePrompt(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids = tokenizer.Encode(text);
  if (tokenizer.bos() >= 0) ids.insert(ids.begin(), tokenizer.bos());
  return ids;
}

absl::Status PrintTokens(const LoadedModel& loaded, absl::Span<const int32_t> prompt, const GenerateOptions& options) {
  PHOTON_ASSIGN_OR_RETURN(const GenerateResult result, Generate(loaded.context(), loaded.model(), prompt, options));
  std::cout << TokenJson(result.tokens) << "\n";
  return absl::OkStatus();
}

// Text as it comes on stdout; how fast it was on stderr.
absl::Status PrintText(const LoadedModel& loaded, absl::Span<const int32_t> prompt, GenerateOptions options) {
  if (loaded.tokenizer()->eos() >= 0) options.stop = loaded.tokenizer()->eos();
  TextStream stream(loaded.tokenizer());
  for (const int32_t id : prompt) stream.Push(id);
  const auto print = [&](absl::Span<const int32_t> ids) {
    for (const int32_t id : ids) std::cout << stream.Push(id);
    std::cout << std::flush;
  };
  PHOTON_ASSIGN_OR_RETURN(const GenerateResult result,
                          Generate(loaded.context(), loaded.model(), prompt, options, print));
  std::cout << stream.Finish() << std::endl;
  std::cerr << absl::StreamFormat(
      "%d tokens%s; prompt of %d in %.3f s, then %.1f tokens/s; state %d bytes, windows %d\n", result.tokens.size(),
      result.stopped ? " and end-of-text" : "", prompt.size(), result.prefill_seconds,
      result.tokens.size() / std::max(result.decode_seconds, 1e-9), result.bytes.context, result.bytes.windows);
  return absl::OkStatus();
}

absl::Status RunGenerate(const GenerateArguments& arguments) {
  PHOTON_RETURN_IF_ERROR(CheckDevice(arguments.device));
  GenerateOptions options = arguments.options;
  PHOTON_ASSIGN_OR_RETURN(options.mode, ParseGenerationMode(arguments.mode));
  if (arguments.greedy) options.sampling.temperature = 0;
  PHOTON_RETURN_IF_ERROR(ValidateSampling(options.sampling));
  std::vector<int32_t> prompt;
  if (!arguments.has_prompt) {
    PHOTON_ASSIGN_OR_RETURN(prompt, ReadTokenJson(arguments.prompt_tokens));
  }
  PHOTON_ASSIGN_OR_RETURN(const auto loaded, LoadedModel::Load(arguments.checkpoint, ComputeType(arguments.dtype)));
  PHOTON_RETURN_IF_ERROR(RequireTokenizer(*loaded, arguments));
  if (arguments.has_prompt) prompt = EncodePrompt(*loaded->tokenizer(), arguments.prompt);
  const std::string source = arguments.has_prompt ? "the prompt" : absl::StrCat("token file ", arguments.prompt_tokens);
  PHOTON_RETURN_IF_ERROR(CheckTokenIds(prompt, loaded->model().config().vocab_size(), source));
  return arguments.output == "tokens" ? PrintTokens(*loaded, prompt, options) : PrintText(*loaded, prompt, options);
}

void AddSampling(CLI::App& command, GenerateArguments& arguments) {
  SamplingOptions& sampling = arguments.options.sampling;
  sampling.temperature = 1;
  CLI::Option* greedy =
      command.add_flag("--greedy", arguments.greedy, "Always the most likely token; ties take the lowest id");
  command.add_option("--temperature", sampling.temperature, "Above 1: bolder; 0: greedy")
      ->capture_default_str()
      ->excludes(greedy);
  command.add_option("--top-k", sampling.top_k, "Only the K most likely tokens; 0: all")
      ->capture_default_str()
      ->excludes(greedy);
  command.add_option("--top-p", sampling.top_p, "Of those, the fewest whose probabilities reach P")
      ->capture_default_str()
      ->excludes(greedy);
  command.add_option("--seed", sampling.seed, "Of the draws: the same seed draws the same tokens")
      ->capture_default_str();
}

}  // namespace

void AddGenerateCommand(CLI::App& app, Run* chosen) {
  const auto a = std::make_shared<GenerateArguments>();
  CLI::App& command = *AddCommand(app, "generate", "Continue a prompt", chosen, [a] { return RunGenerate(*a); });
  AddCheckpointOption(command, &a->checkpoint);
  CLI::App& prompts = *command.add_option_group("Prompt");
  prompts.add_option("--prompt", a->prompt, "Text")->each([a](const std::string&) { a->has_prompt = true; });
  prompts.add_option("--prompt-tokens", a->prompt_tokens, "FILE.json: an array of token ids, taken as they are");
  prompts.require_option(1);
  a->options.max_new_tokens = 128;
  command.add_option("--max-new-tokens", a->options.max_new_tokens, "How many tokens")
      ->check(AtLeast(0))
      ->capture_default_str();
  command
      .add_option("--mode", a->mode, "hier: exact; hier-parallel: chunks side by side; rec: least memory, approximate")
      ->default_val("hier")
      ->check(CLI::IsMember({"hier", "hier-parallel", "rec"}));
  AddSampling(command, *a);
  command
      .add_option("--output", a->output,
                  "text, up to end-of-text; tokens: a JSON array of exactly as many ids as asked for")
      ->default_val("text")
      ->check(CLI::IsMember({"text", "tokens"}));
  AddDtypeOption(command, &a->dtype);
  AddDeviceOption(command, &a->device);
}

}  // namespace photon
