// photon eval
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "inference/loaded_model.h"
#include "inference/score.h"
#include "launch/commands.h"
#include "launch/eval_tasks.h"
#include "launch/model_options.h"
#include "launch/wanted_file.h"

namespace photon {
namespace {

struct EvalArguments {
  std::string checkpoint, mode, on_error, dtype, device, output, samples;
  bool check = false, no_bos = false;
  EvalTasksOptions tasks;
};

absl::Status RunEval(EvalArguments arguments) {
  EvalTasksOptions& options = arguments.tasks;
  eval::AnswerOptions& answer = options.answer;
  PHOTON_ASSIGN_OR_RETURN(answer.mode, ParseGenerationMode(arguments.mode));
  options.skip_errors = arguments.on_error == "skip";
  options.leading_bos = !arguments.no_bos;
  PHOTON_ASSIGN_OR_RETURN(WantedFile output, WantedFile::Open(arguments.output));
  PHOTON_ASSIGN_OR_RETURN(WantedFile samples, WantedFile::Open(arguments.samples));
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<OpenedDevice> device, OpenDevice(arguments.device, arguments.check));
  PHOTON_ASSIGN_OR_RETURN(const auto loaded,
                          LoadedModel::Load(arguments.checkpoint, ComputeType(arguments.dtype), *device));
  const ScoreOptions score = {.mode = answer.mode, .exact_prefix = std::max<int64_t>(answer.exact_prefix, 0)};
  const absl::Status valid = ValidateScoring(score, loaded->model().config());
  if (!valid.ok()) return absl::InvalidArgumentError(absl::StrCat("--", valid.message()));
  PHOTON_ASSIGN_OR_RETURN(const EvalTasksOutput result, EvaluateTasks(*loaded, options));
  std::cout << result.table;
  PHOTON_RETURN_IF_ERROR(samples.Put(result.samples));
  return output.Put(result.results.dump(2) + "\n");
}

}  // namespace

void AddEvalCommand(CLI::App& app, Run* chosen) {
  const auto a = std::make_shared<EvalArguments>();
  CLI::App& command = *AddCommand(app, "eval", "Evaluate a model on tasks", chosen, [a] { return RunEval(*a); });
  AddCheckpointOption(command, &a->checkpoint);
  command
      .add_option("--task", a->tasks.tasks,
                  "NAME=FILE.jsonl, documents of a known data set, or FILE.jsonl: objects with context, choices and "
                  "answer. Repeatable; docs/evaluation.md lists the names")
      ->required();
  command
      .add_option("--mode", a->mode,
                  "hier: the training forward; rec: behind the exact prefix, states advance by RecGen")
      ->default_val("hier")
      ->check(CLI::IsMember({"hier", "rec"}));
  command
      .add_option("--exact-prefix", a->tasks.answer.exact_prefix,
                  "With --mode rec: so many tokens of each request are read exactly, whole meta-contexts; default: "
                  "those of its context")
      ->check(AtLeast(0));
  command.add_option("--limit", a->tasks.limit, "Only the first so many documents of each task")->check(AtLeast(1));
  command
      .add_option("--max-length", a->tasks.max_length,
                  "Tokens that the model reads at most: longer contexts lose their beginning, longer documents are "
                  "read in windows. 0: no limit; default: the sequence length of training")
      ->check(AtLeast(0));
  command.add_flag("--no-bos", a->no_bos, "Contexts don't begin with begin-of-text");
  command.add_option("--output", a->output, "FILE.json for the results");
  command.add_option("--samples", a->samples, "FILE.jsonl for what each document got");
  command.add_option("--on-error", a->on_error, "A document that can't be asked: fail, or skip and say so")
      ->default_val("fail")
      ->check(CLI::IsMember({"fail", "skip"}));
  command
      .add_option("--batch-tokens", a->tasks.answer.batch_tokens,
                  "Requests that hold so many tokens together are scored at once")
      ->check(AtLeast(1))
      ->capture_default_str();
  AddDtypeOption(command, &a->dtype);
  AddDeviceOption(command, &a->device);
  AddCheckOption(command, &a->check);
}

}  // namespace photon
