// Evaluation tasks: what a data set's documents ask of a model, as lm-evaluation-harness asks it (EleutherAI, 0.4; its
// task names). Pure functions of one document; encode_request.h makes tokens of what they ask, metrics.h numbers of the
// answers.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace photon::eval {

// How likely is `continuation` behind `context`? A space between the two belongs to the continuation.
struct TextRequest {
  std::string context, continuation;
};

struct Document {
  std::vector<TextRequest> requests;  // kChoice: one a choice; else a single one
  // kChoice
  int64_t answer = 0;                                    // index of the right choice
  std::vector<int64_t> choice_characters, choice_bytes;  // of the choices as they are, without the space before
  // kPerplexity: of the document as it is given, before any clean-up
  int64_t words = 0, bytes = 0;
};

enum class TaskKind {
  kPerplexity,  // of whole documents
  kLastWord,    // one continuation: is it what greedy decoding gives, and how likely is it
  kChoice,      // which of several continuations is the most likely
};

struct Task {
  const char* name;
  TaskKind kind;
  const char* fields;  // for messages and --help
  // kInvalidArgument naming the field, for a document that isn't of the task's form.
  absl::StatusOr<Document> (*parse)(const nlohmann::ordered_json& json);
};

const std::vector<Task>& Tasks();
// Null where there is none of that name.
const Task* FindTask(absl::string_view name);
inline constexpr char kGenericTask[] = "choice";

}  // namespace photon::eval
