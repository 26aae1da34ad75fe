// The files that `photon eval --task` names: which task each is of, and its documents with what they ask.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "inference/eval/encode_request.h"
#include "inference/eval/metrics.h"
#include "inference/loaded_model.h"
#include "launch/eval_tasks.h"
#include "launch/json_lines.h"

namespace photon {

struct TaskFile {
  std::string name;  // in the results
  const eval::Task* task;
  std::string path;
};

// NAME=PATH, or PATH of the generic task, which is then called as the file. In the order given; each name once, as
// results go by name. kInvalidArgument for a name that no task has.
absl::StatusOr<std::vector<TaskFile>> ParseTasks(const std::vector<std::string>& arguments);

// kFailedPrecondition where the checkpoint has no tokenizer, or one without a token to begin with.
absl::StatusOr<eval::RequestEncoding> EncodingOf(const LoadedModel& loaded, const EvalTasksOptions& options);

// A task's documents with what they ask; then what came back.
struct AskedTask {
  TaskFile file;
  std::vector<eval::AnsweredDocument> documents = {};
  std::vector<int64_t> lines = {};                // [document] in the file, from 1
  std::vector<eval::TokenRequest> requests = {};  // of all documents
  std::vector<size_t> ends = {};                  // [document]: behind its last request
  int64_t skipped = 0;

  // kInvalidArgument: nothing was added.
  absl::Status Add(const JsonObject& object, const eval::RequestEncoding& encoding);
  void Take(absl::Span<const eval::Answer> answers);  // of `requests`
  bool HoldsText() const;                             // a byte and a token, of a perplexity task
};

// kInvalidArgument naming file, line and field, unless errors are skipped; also where there are no documents, or
// all texts of a perplexity task are empty.
absl::StatusOr<AskedTask> ReadTask(const TaskFile& file, const EvalTasksOptions& options,
                                   const eval::RequestEncoding& encoding);

}  // namespace photon
