#include "launch/eval_task_file.h"

#include <filesystem>
#include <iterator>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "configs/nearest.h"
#include "core/status.h"
#include "launch/line_errors.h"

namespace photon {
namespace {

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
                                                 "; a file of your own, of context, choices and answer, goes without "
                                                 "NAME="));
}

}  // namespace

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
  const int64_t trained = loaded.manifest().config().data().sequence_length();
  return eval::RequestEncoding{.encode = [tokenizer](absl::string_view text) { return tokenizer->Encode(text); },
                               .prefix = tokenizer->bos(),
                               .leading_prefix = options.leading_bos,
                               .max_length = options.max_length < 0 ? trained : options.max_length};
}

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

bool AskedTask::HoldsText() const {
  int64_t bytes = 0;
  for (const eval::AnsweredDocument& answered : documents) bytes += answered.document.bytes;
  return bytes > 0 && !requests.empty();
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
  LineErrors errors(options.skip_errors);
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
    if (absl::IsDataLoss(status) || !errors.Pass(status)) return status;
  }
  errors.TellSkipped();
  task.skipped = errors.skipped();
  if (task.documents.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(file.path, ": holds no documents of task ", file.task->name));
  }
  if (file.task->kind == eval::TaskKind::kPerplexity && !task.HoldsText()) {
    return absl::InvalidArgumentError(absl::StrCat(file.path, ": all texts are empty (", task.documents.size(),
                                                   "), and perplexities are means over bytes and tokens: give texts "
                                                   "that hold some, or leave the task out"));
  }
  return task;
}

}  // namespace photon
