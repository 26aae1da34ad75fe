// photon eval
#include <algorithm>
#include <iostream>
#include <limits>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "inference/json_text.h"
#include "inference/loaded_model.h"
#include "inference/score.h"
#include "launch/commands.h"
#include "launch/eval_drift.h"
#include "launch/eval_task_file.h"
#include "launch/eval_tasks.h"
#include "launch/model_options.h"
#include "launch/wanted_file.h"
#include "launch/wanted_picture.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

struct EvalArguments {
  std::string checkpoint, mode, drift_mode, on_error, dtype, device, output, samples, plot;
  bool check = false, no_bos = false;
  EvalTasksOptions tasks;
  EvalDriftOptions drift;
};

// What was evaluated, before how: files outlive the commands that wrote them.
Json WithModel(const EvalArguments& arguments, const LoadedModel& loaded, const Json& how) {
  Json json = {
      {"checkpoint", arguments.checkpoint}, {"step", loaded.manifest().state().step()}, {"dtype", arguments.dtype}};
  json.update(how);
  return json;
}

absl::Status RunTasks(const LoadedModel& loaded, const EvalArguments& arguments, WantedFile* output,
                      WantedFile* samples) {
  const EvalTasksOptions& options = arguments.tasks;
  const eval::AnswerOptions& answer = options.answer;
  const ScoreOptions score = {.mode = answer.mode, .exact_prefix = std::max<int64_t>(answer.exact_prefix, 0)};
  const absl::Status valid = ValidateScoring(score, loaded.model().config());
  if (!valid.ok()) return absl::InvalidArgumentError(absl::StrCat("--", valid.message()));
  PHOTON_ASSIGN_OR_RETURN(EvalTasksOutput result, EvaluateTasks(loaded, options));
  result.results["config"] = WithModel(arguments, loaded, result.results["config"]);
  std::cout << result.table;
  PHOTON_RETURN_IF_ERROR(samples->Put(result.samples));
  return output->Put(DumpIndented(result.results));
}

absl::Status RunDrift(const LoadedModel& loaded, const EvalArguments& arguments, WantedFile* output,
                      const WantedPicture& picture) {
  const EvalDriftOptions& options = arguments.drift;
  PHOTON_ASSIGN_OR_RETURN(const eval::Drift drift, EvaluateDrift(loaded, options));
  std::cout << DriftTable(drift, options);
  PHOTON_RETURN_IF_ERROR(output->Put(DumpIndented(WithModel(arguments, loaded, DriftJson(drift, options)))));
  return DrawDrift(drift, options, picture);
}

// Before anything is written over what was to be read.
absl::Status CheckFiles(const EvalArguments& arguments) {
  std::vector<NamedFile> read = {{"--tokens", arguments.drift.tokens}};
  PHOTON_ASSIGN_OR_RETURN(const std::vector<TaskFile> tasks, ParseTasks(arguments.tasks.tasks));
  for (const TaskFile& task : tasks) read.push_back({"--task", task.path});
  for (const std::string& text : arguments.drift.texts) read.push_back({"--text", text});
  return CheckDistinct({{"--output", arguments.output}, {"--samples", arguments.samples}, {"--plot", arguments.plot}},
                       read);
}

absl::Status RunEval(EvalArguments arguments) {
  PHOTON_ASSIGN_OR_RETURN(arguments.tasks.answer.mode, ParseGenerationMode(arguments.mode));
  arguments.tasks.skip_errors = arguments.on_error == "skip";
  arguments.tasks.leading_bos = !arguments.no_bos;
  if (!arguments.drift_mode.empty()) {
    PHOTON_ASSIGN_OR_RETURN(arguments.drift.mode, ParseGenerationMode(arguments.drift_mode));
    if (arguments.drift.tokens.empty() == arguments.drift.texts.empty()) {
      return absl::InvalidArgumentError("--drift reads a text: give either --tokens or --text");
    }
  }
  PHOTON_RETURN_IF_ERROR(CheckFiles(arguments));
  PHOTON_ASSIGN_OR_RETURN(const WantedPicture picture, WantedPicture::Open(arguments.plot));
  PHOTON_ASSIGN_OR_RETURN(WantedFile output, WantedFile::Open(arguments.output));
  PHOTON_ASSIGN_OR_RETURN(WantedFile samples, WantedFile::Open(arguments.samples));
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<OpenedDevice> device, OpenDevice(arguments.device, arguments.check));
  PHOTON_ASSIGN_OR_RETURN(const auto loaded,
                          LoadedModel::Load(arguments.checkpoint, ComputeType(arguments.dtype), *device));
  return arguments.drift_mode.empty() ? RunTasks(*loaded, arguments, &output, &samples)
                                      : RunDrift(*loaded, arguments, &output, picture);
}

// Of evaluation tasks alone.
void AddTaskOptions(CLI::App& command, EvalArguments* a, CLI::Option* task) {
  const auto of_tasks = [task](CLI::Option* option) { return option->needs(task); };
  of_tasks(
      command.add_option("--mode", a->mode,
                         "hier: the training forward; hier-parallel: as it generates; rec: behind the exact prefix, "
                         "states advance by RecGen"))
      ->default_str("hier")
      ->check(CLI::IsMember({"hier", "hier-parallel", "rec"}));
  of_tasks(command.add_option("--exact-prefix", a->tasks.answer.exact_prefix,
                              "With --mode rec: so many tokens of each request are read exactly, whole meta-contexts; "
                              "default: those of its context"))
      ->check(AtLeast(0));
  of_tasks(command.add_option("--limit", a->tasks.limit, "Only the first so many documents of each task"))
      ->check(AtLeast(1));
  of_tasks(command.add_option("--max-length", a->tasks.max_length,
                              "Tokens that the model reads at most: longer contexts lose their beginning, longer "
                              "documents are read in windows. 0: no limit; default: the sequence length of training"))
      ->check(AtLeast(0));
  of_tasks(command.add_flag("--no-bos", a->no_bos, "Contexts don't begin with begin-of-text"));
  of_tasks(command.add_option("--samples", a->samples, "FILE.jsonl for what each document got"));
  of_tasks(command.add_option("--on-error", a->on_error, "A document that can't be asked: fail, or skip and say so"))
      ->default_str("fail")
      ->check(CLI::IsMember({"fail", "skip"}));
  of_tasks(command.add_option("--batch-tokens", a->tasks.answer.batch_tokens,
                              "Requests that hold so many tokens together are scored at once"))
      ->check(AtLeast(1))
      ->capture_default_str();
}

// So that a length times the sequences is no more than 64 bits hold.
constexpr int64_t kMostOfDrift = std::numeric_limits<int32_t>::max();

// Of --drift alone.
void AddDriftOptions(CLI::App& command, EvalArguments* a, CLI::Option* drift) {
  const auto of_drift = [drift](CLI::Option* option) { return option->needs(drift); };
  CLI::Option* tokens = of_drift(command.add_option("--tokens", a->drift.tokens, "FILE.json: an array of token ids"));
  of_drift(command.add_option("--text", a->drift.texts, "FILE: a text; repeatable"))->excludes(tokens);
  of_drift(command.add_option("--prefix", a->drift.prefix, "Tokens that both read exactly, whole meta-contexts"))
      ->check(Between(0, kMostOfDrift))
      ->capture_default_str();
  of_drift(command.add_option("--lengths", a->drift.lengths, "Tokens behind the prefix: means over so many"))
      ->delimiter(',')
      ->check(Between(1, kMostOfDrift))
      ->capture_default_str();
  of_drift(command.add_option("--sequences", a->drift.sequences,
                              "Stretches of each text, one behind the other, that means are taken over"))
      ->check(Between(1, kMostOfDrift))
      ->capture_default_str();
  of_drift(command.add_option("--plot", a->plot, "FILE.png or .svg for a picture; needs gnuplot"));
}

}  // namespace

void AddEvalCommand(CLI::App& app, Run* chosen) {
  const auto a = std::make_shared<EvalArguments>();
  a->mode = "hier";
  a->on_error = "fail";
  CLI::App& command = *AddCommand(app, "eval", "Evaluate a model on tasks, or measure how far a mode drifts", chosen,
                                  [a] { return RunEval(*a); });
  AddCheckpointOption(command, &a->checkpoint);
  CLI::App& what = *command.add_option_group("What");
  CLI::Option* task = what.add_option(
      "--task", a->tasks.tasks,
      "NAME=FILE.jsonl, documents of a known data set, or FILE.jsonl: objects with context, choices and answer. "
      "Repeatable; docs/evaluation.md lists the names");
  CLI::Option* drift = what.add_option("--drift", a->drift_mode,
                                       "rec or hier-parallel: compare it with the training forward over texts, by "
                                       "distance from an exact prefix")
                           ->check(CLI::IsMember({"rec", "hier-parallel"}));
  what.require_option(1);
  AddTaskOptions(command, a.get(), task);
  AddDriftOptions(command, a.get(), drift);
  command.add_option("--output", a->output, "FILE.json for the results");
  AddDtypeOption(command, &a->dtype);
  AddDeviceOptions(command, &a->device);
  AddCheckOption(command, &a->check);
}

}  // namespace photon
