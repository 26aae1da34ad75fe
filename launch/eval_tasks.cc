#include "launch/eval_tasks.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/progress.h"
#include "core/status.h"
#include "inference/json_text.h"
#include "launch/eval_task_file.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

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
  config["limit"] = options.limit > 0 ? Json(options.limit) : Json();
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
    for (size_t i = 0; i < task.documents.size(); ++i) absl::StrAppend(&output.samples, Dump(SampleOf(task, i)), "\n");
  }
  return output;
}

}  // namespace photon
