#include "launch/eval_tasks.h"

#include <filesystem>
#include <iostream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "configs/nearest.h"
#include "core/progress.h"
#include "core/status.h"
#include "inference/eval/metrics.h"
#include "launch/generate_output.h"
#include "launch/json_lines.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

struct TaskFile {
  std::string name;  // in the results
  const eval::Task* task;
  std::string path;
};

std::vector<std::string> TaskNames() {
  std::vector<std::string> names;
  for (const eval::Task& task : eval::Tasks()) names.emplace_back(task.name);
  return names;
}

absl::StatusOr<TaskFile> ParseTask(const std::string& argument) {
  const size_t equals = argument.find('=');
  const std::string name = argument.substr(0, equals);
  if (equals != std::string::npos) {
    if (const eval::Task* task = eval::FindTask(name)) return TaskFile{name, task, argument.substr(equals + 1)};
  }
  std::error_code error;
  if (equals == std::string::npos || std::filesystem::exists(argument, error)) {
    return TaskFile{std::filesystem::path(argument).stem(), eval::FindTask(eval::kGenericTask), argument};
  }
  return absl::InvalidArgumentError(absl::StrCat("--task ", argument, ": no task \"", name, "\"",
                                                 DidYouMean(name, TaskNames()),
                                                 "; known: ", absl::StrJoin(TaskNames(), ", ")));
}

// In the order given; each once, as results go by name.
absl::StatusOr<std::vector<TaskFile>> ParseTasks(const std::vector<std::string>& arguments) {
  std::vector<TaskFile> files;
  std::set<std::string> names;
  for (const std::string& argument : arguments) {
    PHOTON_ASSIGN_OR_RETURN(const TaskFile file, ParseTask(argument));
    if (!names.insert(file.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("--task ", argument, ": there is a task ", file.name,
                                                     " already, and results go by name; evaluate it in another run"));
    }
    files.push_back(file);
  }
  return files;
}

absl::StatusOr<eval::RequestEncoding> EncodingOf(const LoadedModel& loaded, const EvalTasksOptions& options) {
  const Tokenizer* tokenizer = loaded.tokenizer().get();
  if (tokenizer == nullptr) {
    return absl::FailedPreconditionError(
        "the checkpoint carries no tokenizer, and tasks are texts: give it one (photon checkpoint import --tokenizer)");
  }
  if (tokenizer->bos() < 0) {
    return absl::FailedPreconditionError(
        "the tokenizer has neither a begin- nor an end-of-text token, and the first token needs one before it");
  }
  const DataConfig& data = loaded.manifest().config().data();
  const int64_t trained = data.has_sequence_length() ? data.sequence_length() : 0;
  return eval::RequestEncoding{.encode = [tokenizer](absl::string_view text) { return tokenizer->Encode(text); },
                               .prefix = tokenizer->bos(),
                               .leading_prefix = options.leading_bos,
                               .max_length = options.max_length < 0 ? trained : options.max_length};
}

// A task's documents with what they ask; then what came back.
struct AskedTask {
  TaskFile file;
  std::vector<eval::AnsweredDocument> documents = {};
  std::vector<int64_t> lines = {};                // [document]
  std::vector<eval::TokenRequest> requests = {};  // of all documents
  std::vector<size_t> ends = {};                  // [document]: behind its last request
  int64_t skipped = 0;

  // kInvalidArgument: nothing was added.
  absl::Status Add(const JsonObject& object, const eval::RequestEncoding& encoding);
  void Take(absl::Span<const eval::Answer> answers);
};

absl::Status AskedTask::Add(const JsonObject& object, const eval::RequestEncoding& encoding) {
  PHOTON_ASSIGN_OR_RETURN(eval::Document document, file.task->parse(object.json));
  std::vector<eval::TokenRequest> asked;
  for (const eval::TextRequest& request : document.requests) {
    if (file.task->kind == eval::TaskKind::kPerplexity) {
      asked = EncodeRolling(request.continuation, encoding);
    } else {
      PHOTON_ASSIGN_OR_RETURN(asked.emplace_back(), EncodeRequest(request, encoding));
    }
  }
  requests.insert(requests.end(), std::make_move_iterator(asked.begin()), std::make_move_iterator(asked.end()));
  ends.push_back(requests.size());
  lines.push_back(object.number);
  documents.push_back({std::move(document), {}});
  return absl::OkStatus();
}

void AskedTask::Take(absl::Span<const eval::Answer> answers) {
  size_t begin = 0;
  for (size_t i = 0; i < documents.size(); ++i) {
    documents[i].answers.assign(answers.begin() + begin, answers.begin() + ends[i]);
    begin = ends[i];
  }
}

absl::StatusOr<AskedTask> ReadTask(const TaskFile& file, const EvalTasksOptions& options,
                                   const eval::RequestEncoding& encoding) {
  AskedTask task{file};
  PHOTON_ASSIGN_OR_RETURN(JsonLines lines, JsonLines::Open(file.path));
  while (options.limit == 0 || static_cast<int64_t>(task.documents.size()) < options.limit) {
    JsonObject object;
    const absl::StatusOr<bool> more = lines.NextObject(&object);
    if (more.ok() && !*more) break;
    absl::Status status = more.status();
    if (status.ok()) {
      status = task.Add(object, encoding);
      if (status.ok()) continue;
      status =
          absl::Status(status.code(), absl::StrCat(lines.At(object.number), ": ", status.message(), " (task ",
                                                   file.task->name, ", whose documents have ", file.task->fields, ")"));
    }
    if (!options.skip_errors || absl::IsDataLoss(status)) return status;
    ++task.skipped;
    std::cerr << absl::StrCat(status.message(), "; skipped\n");
  }
  if (!task.documents.empty()) return task;
  return absl::InvalidArgumentError(absl::StrCat(file.path, ": holds no documents of task ", file.task->name));
}

Json ResultsOf(const AskedTask& task, absl::Span<const eval::Metric> metrics) {
  Json json;
  json["task"] = task.file.task->name;
  json["file"] = task.file.path;
  json["documents"] = task.documents.size();
  json["skipped"] = task.skipped;
  for (const eval::Metric& metric : metrics) {
    json[metric.name] = metric.value;
    if (metric.standard_error.has_value()) json[metric.name + "_stderr"] = *metric.standard_error;
  }
  return json;
}

Json SampleOf(const AskedTask& task, size_t i) {
  const eval::AnsweredDocument& answered = task.documents[i];
  const eval::Document& document = answered.document;
  Json json;
  json["task"] = task.file.name;
  json["line"] = task.lines[i];
  if (task.file.task->kind == eval::TaskKind::kPerplexity) {
    double sum = 0;
    int64_t tokens = 0;
    for (const eval::Answer& answer : answered.answers) {
      sum += answer.log_likelihood;
      tokens += answer.tokens;
    }
    json["log_likelihood"] = sum;
    json["tokens"] = tokens;
    json["words"] = document.words;
    json["bytes"] = document.bytes;
    return json;
  }
  json["context"] = document.requests.empty() ? "" : document.requests[0].context;
  json["continuations"] = Json::array();
  for (size_t k = 0; k < answered.answers.size(); ++k) {
    json["continuations"].push_back({{"text", document.requests[k].continuation},
                                     {"log_likelihood", answered.answers[k].log_likelihood},
                                     {"greedy", static_cast<bool>(answered.answers[k].greedy)},
                                     {"tokens", answered.answers[k].tokens}});
  }
  if (task.file.task->kind == eval::TaskKind::kChoice) {
    const eval::Judgement judgement = JudgeChoices(answered);
    json["answer"] = document.answer;
    json["acc"] = judgement.by_sum == document.answer;
    json["acc_norm"] = judgement.by_character == document.answer;
    json["acc_bytes"] = judgement.by_byte == document.answer;
  }
  return json;
}

void AppendRows(const AskedTask& task, absl::Span<const eval::Metric> metrics, std::string* table) {
  for (const eval::Metric& metric : metrics) {
    const std::string error =
        metric.standard_error.has_value() ? absl::StrFormat("%9.4f", *metric.standard_error) : std::string(9, ' ');
    absl::StrAppendFormat(table, "%-18s %9d  %-16s %12.6g %s\n", task.file.name, task.documents.size(), metric.name,
                          metric.value, error);
  }
}

}  // namespace

absl::StatusOr<EvalTasksOutput> EvaluateTasks(const LoadedModel& loaded, const EvalTasksOptions& options) {
  PHOTON_ASSIGN_OR_RETURN(const std::vector<TaskFile> files, ParseTasks(options.tasks));
  PHOTON_ASSIGN_OR_RETURN(const eval::RequestEncoding encoding, EncodingOf(loaded, options));
  std::vector<AskedTask> tasks;
  for (const TaskFile& file : files) {
    PHOTON_ASSIGN_OR_RETURN(tasks.emplace_back(), ReadTask(file, options, encoding));
  }

  EvalTasksOutput output;
  output.table = absl::StrFormat("%-18s %9s  %-16s %12s %9s\n", "task", "documents", "metric", "value", "stderr");
  Json& config = output.results["config"];
  config["mode"] = Name(options.answer.mode);
  if (options.answer.mode == GenerationMode::kRec) {
    config["exact_prefix"] = options.answer.exact_prefix < 0 ? Json("context") : Json(options.answer.exact_prefix);
  }
  config["max_length"] = encoding.max_length > 0 ? Json(encoding.max_length) : Json();
  config["leading_bos"] = encoding.leading_prefix;
  for (AskedTask& task : tasks) {
    ProgressLine progress(task.file.name, /*shown=*/true, 0, ProgressLine::Unit::kThings);
    const auto total = static_cast<int64_t>(task.requests.size());
    auto answers = AnswerRequests(loaded.context(), loaded.model(), task.requests, options.answer,
                                  [&](int64_t done) { progress.Update(done, total); });
    if (!answers.ok()) {
      return absl::Status(answers.status().code(), absl::StrCat(task.file.path, ": ", answers.status().message()));
    }
    task.Take(*answers);
    const std::vector<eval::Metric> metrics = Metrics(task.file.task->kind, task.documents);
    output.results["results"][task.file.name] = ResultsOf(task, metrics);
    AppendRows(task, metrics, &output.table);
    for (size_t i = 0; i < task.documents.size(); ++i) absl::StrAppend(&output.samples, Line(SampleOf(task, i)), "\n");
  }
  return output;
}

}  // namespace photon
