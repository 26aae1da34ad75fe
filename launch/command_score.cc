// photon score
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "inference/loaded_model.h"
#include "inference/score.h"
#include "inference/vocabulary.h"
#include "launch/commands.h"
#include "launch/model_options.h"
#include "launch/token_json.h"

namespace photon {
namespace {

struct ScoreArguments {
  std::string checkpoint, tokens, dtype, device;
};

absl::Status RunScore(const ScoreArguments& arguments) {
  PHOTON_RETURN_IF_ERROR(CheckDevice(arguments.device));
  PHOTON_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, ReadTokenJson(arguments.tokens));
  if (tokens.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("token file ", arguments.tokens, ": holds no tokens; give at least one"));
  }
  PHOTON_ASSIGN_OR_RETURN(const auto loaded, LoadedModel::Load(arguments.checkpoint, ComputeType(arguments.dtype)));
  const LanguageModel& model = loaded->model();
  PHOTON_RETURN_IF_ERROR(
      CheckTokenIds(tokens, model.config().vocab_size(), absl::StrCat("token file ", arguments.tokens)));
  PHOTON_ASSIGN_OR_RETURN(const std::vector<double> log_probabilities, ScoreTokens(loaded->context(), model, tokens));
  std::cout << nlohmann::json(log_probabilities).dump() << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddScoreCommand(CLI::App& app, Run* chosen) {
  const auto arguments = std::make_shared<ScoreArguments>();
  CLI::App& command = *AddCommand(app, "score", "Print the log-probabilities of given tokens, as a JSON array", chosen,
                                  [arguments] { return RunScore(*arguments); });
  AddCheckpointOption(command, &arguments->checkpoint);
  command.add_option("--tokens", arguments->tokens, "FILE.json: an array of token ids, taken as they are")->required();
  AddDtypeOption(command, &arguments->dtype);
  AddDeviceOption(command, &arguments->device);
}

}  // namespace photon
