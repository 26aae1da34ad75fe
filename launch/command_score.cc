// photon score
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "inference/loaded_model.h"
#include "inference/score.h"
#include "inference/vocabulary.h"
#include "launch/commands.h"
#include "launch/model_options.h"
#include "launch/score_lines.h"
#include "launch/token_json.h"

namespace photon {
namespace {

struct ScoreArguments {
  std::string checkpoint, tokens, mode, on_error, dtype, device;
  bool check = false;
  ScoreLinesOptions lines;
};

// --tokens: one array in, one array out.
absl::Status ScoreTokenFile(const LoadedModel& loaded, const ScoreArguments& arguments,
                            const std::vector<int32_t>& tokens) {
  const std::string name = absl::StrCat("token file ", arguments.tokens);
  if (tokens.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ": holds no tokens; give at least one"));
  PHOTON_RETURN_IF_ERROR(CheckTokenIds(tokens, loaded.model().config().vocab_size(), name));
  PHOTON_ASSIGN_OR_RETURN(const std::vector<double> log_probabilities,
                          ScoreTokens(loaded.context(), loaded.model(), tokens, arguments.lines.score));
  std::cout << nlohmann::json(log_probabilities).dump() << "\n";
  return absl::OkStatus();
}

absl::Status RunScore(ScoreArguments arguments) {
  ScoreLinesOptions& lines = arguments.lines;
  PHOTON_ASSIGN_OR_RETURN(lines.score.mode, ParseGenerationMode(arguments.mode));
  lines.skip_errors = arguments.on_error == "skip";
  std::vector<int32_t> tokens;
  if (!arguments.tokens.empty()) {
    PHOTON_ASSIGN_OR_RETURN(tokens, ReadTokenJson(arguments.tokens));
  }
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<OpenedDevice> device, OpenDevice(arguments.device, arguments.check));
  PHOTON_ASSIGN_OR_RETURN(const auto loaded,
                          LoadedModel::Load(arguments.checkpoint, ComputeType(arguments.dtype), *device));
  const absl::Status valid = ValidateScoring(lines.score, loaded->model().config());
  if (!valid.ok()) return absl::InvalidArgumentError(absl::StrCat("--", valid.message()));
  return arguments.tokens.empty() ? ScoreLines(*loaded, lines, std::cout) : ScoreTokenFile(*loaded, arguments, tokens);
}

}  // namespace

void AddScoreCommand(CLI::App& app, Run* chosen) {
  const auto a = std::make_shared<ScoreArguments>();
  CLI::App& command = *AddCommand(app, "score", "Print the log-probabilities of given texts or tokens", chosen,
                                  [a] { return RunScore(*a); });
  AddCheckpointOption(command, &a->checkpoint);
  CLI::App& inputs = *command.add_option_group("Input");
  CLI::Option* tokens = inputs.add_option("--tokens", a->tokens, "FILE.json: an array of token ids; prints one array");
  inputs.add_option("--input", a->lines.input,
                    "FILE.jsonl, or - for stdin: objects with \"text\" or \"tokens\"; prints a JSON line for each");
  inputs.require_option(1);
  command
      .add_option("--mode", a->mode,
                  "hier: the training forward; hier-parallel: as it generates; rec: by RecGen behind --exact-prefix")
      ->default_val("hier")
      ->check(CLI::IsMember({"hier", "hier-parallel", "rec"}));
  command
      .add_option("--exact-prefix", a->lines.score.exact_prefix,
                  "With --mode rec: so many tokens are read exactly, whole meta-contexts")
      ->check(AtLeast(0))
      ->capture_default_str();
  command.add_flag("--summary", a->lines.summary, "Sums and perplexities without the single log-probabilities")
      ->excludes(tokens);
  command.add_option("--on-error", a->on_error, "A line that can't be scored: fail, or skip and say so")
      ->default_val("fail")
      ->check(CLI::IsMember({"fail", "skip"}));
  command
      .add_option("--batch-tokens", a->lines.batch_tokens,
                  "Lines that hold so many tokens together are scored at once; 0: each alone, answered at once")
      ->check(AtLeast(0))
      ->capture_default_str();
  AddDtypeOption(command, &a->dtype);
  AddDeviceOptions(command, &a->device);
  AddCheckOption(command, &a->check);
}

}  // namespace photon
