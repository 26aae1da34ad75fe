#include "launch/sampling_flags.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/status.h"
#include "launch/commands.h"

namespace photon {
namespace {

absl::StatusOr<LogitBias> ParseBias(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '=');
  LogitBias bias;
  if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &bias.token) && absl::SimpleAtod(parts[1], &bias.bias)) {
    return bias;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--logit-bias: \"", text, "\" is not ID=BIAS; give a token id and a number, as in 42=-1.5 or 42=-inf"));
}

void AddCuts(CLI::App& command, SamplingFlags* flags) {
  SamplingOptions& sampling = flags->options.sampling;
  CLI::Option* greedy =
      command.add_flag("--greedy", flags->greedy, "Always the most likely token; ties take the lowest id");
  const auto number = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->excludes(greedy);
  };
  number("--temperature", sampling.temperature, "Above 1: bolder; 0: greedy");
  number("--min-p", sampling.min_p, "Only tokens at least P times as likely as the most likely one; 0: all");
  number("--top-k", sampling.top_k, "Only the K most likely tokens; 0: all");
  number("--typical-p", sampling.typical_p, "Of those, the most typical whose probabilities reach P; 1: all");
  number("--top-p", sampling.top_p, "Of those, the fewest whose probabilities reach P; 1: all");
  command.add_option("--seed", sampling.seed, "Of the draws: the same seed draws the same tokens")
      ->check(Unsigned())
      ->capture_default_str();
}

void AddPenalties(CLI::App& command, SamplingFlags* flags) {
  SamplingOptions& sampling = flags->options.sampling;
  command
      .add_option("--repetition-penalty", sampling.repetition_penalty,
                  "Divides logits of tokens in the prompt or the text so far; 1: off")
      ->capture_default_str();
  command.add_option("--presence-penalty", sampling.presence_penalty, "Taken off logits of generated tokens; 0: off")
      ->capture_default_str();
  command.add_option("--frequency-penalty", sampling.frequency_penalty, "The same for every time they came; 0: off")
      ->capture_default_str();
  command
      .add_option("--logit-bias", flags->logit_bias, "ID=BIAS, added to the token's logit; -inf bans it. Repeatable")
      ->allow_extra_args(false);
  command.add_option("--allowed-token", sampling.allowed_tokens, "A token id; no others are chosen. Repeatable")
      ->allow_extra_args(false);
  command.add_option("--bad-word", flags->bad_words, "Text whose tokens don't come one after the other. Repeatable")
      ->allow_extra_args(false);
}

void AddStops(CLI::App& command, SamplingFlags* flags) {
  StopOptions& stop = flags->options.stop;
  command.add_option("--stop", stop.strings, "Text that ends generation and is not shown. Repeatable")
      ->allow_extra_args(false);
  command.add_option("--stop-token", stop.tokens, "A token id that ends generation, as end-of-text does. Repeatable")
      ->allow_extra_args(false);
  command.add_option("--min-new-tokens", stop.min_new_tokens, "So many tokens before anything may stop")
      ->check(AtLeast(0))
      ->capture_default_str();
  command.add_flag("--ignore-eos", flags->ignore_eos, "End-of-text stops nothing");
}

}  // namespace

void AddSamplingFlags(CLI::App& command, SamplingFlags* flags) {
  flags->options.sampling.temperature = 1;
  flags->options.max_new_tokens = 128;
  command.add_option("--max-new-tokens", flags->options.max_new_tokens, "How many tokens")
      ->check(AtLeast(0))
      ->capture_default_str();
  AddCuts(command, flags);
  AddPenalties(command, flags);
  AddStops(command, flags);
  command.add_option("--n", flags->options.continuations, "How many continuations; the prompt is read once")
      ->check(Between(1, kMostOfflineContinuations))
      ->capture_default_str();
  command
      .add_option("--logprobs", flags->options.log_probabilities,
                  "With --output json: log-probabilities of the tokens, and of the N most likely ones")
      ->check(AtLeast(0));
}

absl::Status Resolve(SamplingFlags* flags) {
  if (flags->greedy) flags->options.sampling.temperature = 0;
  for (const std::string& text : flags->logit_bias) {
    PHOTON_ASSIGN_OR_RETURN(const LogitBias bias, ParseBias(text));
    flags->options.sampling.logit_bias.push_back(bias);
  }
  flags->logit_bias.clear();
  return ValidateOptions(flags->options);
}

}  // namespace photon
