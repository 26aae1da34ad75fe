// `photon eval --task`: files of documents in, what a model makes of them out. inference/eval/ has the definitions.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/eval/answer_requests.h"
#include "inference/loaded_model.h"

namespace photon {

struct EvalTasksOptions {
  std::vector<std::string> tasks;  // FILE.jsonl or NAME=PATH
  int64_t limit = 0;               // of each task's documents, the first so many; 0: all
  int64_t max_length = -1;         // tokens that the model reads at most; 0: any number; -1: as many as in training
  bool leading_bos = true;
  bool skip_errors = false;  // go on after a document that can't be asked, and count it
  eval::AnswerOptions answer;
};

struct EvalTasksOutput {
  nlohmann::ordered_json results;  // of --output; docs/evaluation.md has its fields
  std::string table;               // for people
  std::string samples;             // JSON lines, one a document
};

// Files are read, and all of their documents understood, before the model is asked. kInvalidArgument naming file, line
// and field; kFailedPrecondition where the checkpoint has no tokenizer.
absl::StatusOr<EvalTasksOutput> EvaluateTasks(const LoadedModel& loaded, const EvalTasksOptions& options);

}  // namespace photon
