#include "inference/eval/task.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "data/letter_case.h"
#include "data/utf8.h"
#include "inference/eval/clean_up.h"

namespace photon::eval {
namespace {

using Json = nlohmann::ordered_json;

absl::Status Wrong(absl::string_view field, const Json& value, absl::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrCat("\"", field, "\" is ", value.type_name(), ", not ", wanted));
}

absl::StatusOr<Json> Field(const Json& json, const char* field) {
  if (json.contains(field)) return json[field];
  return absl::InvalidArgumentError(absl::StrCat("there is no field \"", field, "\""));
}

absl::StatusOr<std::string> Text(const Json& json, const char* field) {
  PHOTON_ASSIGN_OR_RETURN(const Json value, Field(json, field));
  if (!value.is_string()) return Wrong(field, value, "a string");
  return value.get<std::string>();
}

absl::StatusOr<std::vector<std::string>> Texts(const Json& json, const char* field) {
  PHOTON_ASSIGN_OR_RETURN(const Json value, Field(json, field));
  if (!value.is_array()) return Wrong(field, value, "an array of strings");
  std::vector<std::string> texts;
  for (const Json& element : value) {
    if (!element.is_string()) return Wrong(absl::StrCat(field, "[", texts.size(), "]"), element, "a string");
    texts.push_back(element.get<std::string>());
  }
  return texts;
}

constexpr char kNoTestSplit[] = "; test splits without answers can't be evaluated, take the validation split";

// An index into `count` choices: a number, or one in a string, as HellaSwag has it.
absl::StatusOr<int64_t> Index(const Json& json, const char* field, size_t count) {
  PHOTON_ASSIGN_OR_RETURN(const Json value, Field(json, field));
  int64_t index = -1;
  if (value.is_string() && !absl::SimpleAtoi(value.get<std::string>(), &index)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", field, "\" is \"", value.get<std::string>(), "\", not the index of a choice", kNoTestSplit));
  }
  if (!value.is_string() && !value.is_number_integer()) return Wrong(field, value, "the index of a choice");
  if (value.is_number_integer()) index = value.get<int64_t>();
  if (index >= 0 && index < static_cast<int64_t>(count)) return index;
  return absl::InvalidArgumentError(absl::StrCat("\"", field, "\" is ", index, ": there are ", count,
                                                 " choices, counted from 0", index < 0 ? kNoTestSplit : ""));
}

absl::StatusOr<Document> Perplexity(const std::string& text, std::string target) {
  Document document;
  document.words = CountWords(text);
  document.bytes = static_cast<int64_t>(text.size());
  document.requests.push_back({"", std::move(target)});
  return document;
}

absl::StatusOr<Document> Choices(const std::string& context, const std::vector<std::string>& choices, int64_t answer) {
  Document document;
  document.answer = answer;
  for (const std::string& choice : choices) {
    document.requests.push_back({context, absl::StrCat(" ", choice)});
    document.choice_characters.push_back(CountCharacters(choice));
    document.choice_bytes.push_back(static_cast<int64_t>(choice.size()));
  }
  return document;
}

absl::StatusOr<Document> ParseText(const Json& json) {
  PHOTON_ASSIGN_OR_RETURN(const std::string text, Text(json, "text"));
  return Perplexity(text, text);
}

absl::StatusOr<Document> ParseWikitext(const Json& json) {
  PHOTON_ASSIGN_OR_RETURN(const std::string page, Text(json, json.contains("page") ? "page" : "text"));
  return Perplexity(page, DetokenizeWikitext(page));
}

absl::StatusOr<Document> ParseLambada(const Json& json) {
  PHOTON_ASSIGN_OR_RETURN(const std::string text, Text(json, "text"));
  const size_t space = text.rfind(' ');
  Document document;
  if (space == std::string::npos) {
    document.requests.push_back({"", absl::StrCat(" ", text)});
  } else {
    document.requests.push_back({text.substr(0, space), text.substr(space)});
  }
  return document;
}

absl::StatusOr<Document> ParseHellaSwag(const Json& json) {
  PHOTON_ASSIGN_OR_RETURN(const std::string activity, Text(json, "activity_label"));
  PHOTON_ASSIGN_OR_RETURN(const std::string first, Text(json, "ctx_a"));
  PHOTON_ASSIGN_OR_RETURN(const std::string second, Text(json, "ctx_b"));
  PHOTON_ASSIGN_OR_RETURN(std::vector<std::string> endings, Texts(json, "endings"));
  PHOTON_ASSIGN_OR_RETURN(const int64_t label, Index(json, "label", endings.size()));
  for (std::string& ending : endings) ending = CleanHellaSwag(ending);
  return Choices(CleanHellaSwag(absl::StrCat(activity, ": ", first, " ", Capitalize(second))), endings, label);
}

std::string QuestionContext(absl::string_view question) { return absl::StrCat("Question: ", question, "\nAnswer:"); }

absl::StatusOr<Document> ParseArc(const Json& json) {
  PHOTON_ASSIGN_OR_RETURN(const std::string question, Text(json, "question"));
  PHOTON_ASSIGN_OR_RETURN(const Json choices, Field(json, "choices"));
  if (!choices.is_object()) return Wrong("choices", choices, "an object with \"text\" and \"label\"");
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::string> texts, Texts(choices, "text"));
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::string> labels, Texts(choices, "label"));
  PHOTON_ASSIGN_OR_RETURN(const std::string key, Text(json, "answerKey"));
  if (labels.size() != texts.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"choices\" has ", texts.size(), " texts and ", labels.size(), " labels"));
  }
  const auto found = std::find(labels.begin(), labels.end(), key);
  if (found == labels.end()) {
    return absl::InvalidArgumentError(absl::StrCat("\"answerKey\" is \"", key, "\", which is no label of a choice"));
  }
  return Choices(QuestionContext(question), texts, found - labels.begin());
}

absl::StatusOr<Document> ParsePiqa(const Json& json) {
  PHOTON_ASSIGN_OR_RETURN(const std::string goal, Text(json, "goal"));
  PHOTON_ASSIGN_OR_RETURN(const std::string first, Text(json, "sol1"));
  PHOTON_ASSIGN_OR_RETURN(const std::string second, Text(json, "sol2"));
  PHOTON_ASSIGN_OR_RETURN(const int64_t label, Index(json, "label", 2));
  return Choices(QuestionContext(goal), {first, second}, label);
}

absl::StatusOr<Document> ParseSciq(const Json& json) {
  PHOTON_ASSIGN_OR_RETURN(const std::string support, Text(json, "support"));
  PHOTON_ASSIGN_OR_RETURN(const std::string question, Text(json, "question"));
  std::vector<std::string> choices;
  for (const char* field : {"distractor1", "distractor2", "distractor3", "correct_answer"}) {
    PHOTON_ASSIGN_OR_RETURN(choices.emplace_back(), Text(json, field));
  }
  return Choices(absl::StrCat(StripLeft(support), "\n", QuestionContext(question)), choices, 3);
}

absl::StatusOr<Document> ParseChoice(const Json& json) {
  PHOTON_ASSIGN_OR_RETURN(const std::string context, Text(json, "context"));
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::string> choices, Texts(json, "choices"));
  if (choices.empty()) return absl::InvalidArgumentError("\"choices\" is empty: there is nothing to choose from");
  for (size_t i = 0; i < choices.size(); ++i) {
    if (!choices[i].empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("\"choices[", i, "]\" is empty, and likelihoods are those of texts"));
  }
  PHOTON_ASSIGN_OR_RETURN(const int64_t answer, Index(json, "answer", choices.size()));
  return Choices(context, choices, answer);
}

}  // namespace

const std::vector<Task>& Tasks() {
  static const auto* const tasks = new std::vector<Task>{
      {"wikitext", TaskKind::kPerplexity, "page (or text)", ParseWikitext},
      {"text", TaskKind::kPerplexity, "text", ParseText},
      {"lambada_openai", TaskKind::kLastWord, "text", ParseLambada},
      {"lambada_standard", TaskKind::kLastWord, "text", ParseLambada},
      {"hellaswag", TaskKind::kChoice, "activity_label, ctx_a, ctx_b, endings, label", ParseHellaSwag},
      {"arc_easy", TaskKind::kChoice, "question, choices {text, label}, answerKey", ParseArc},
      {"arc_challenge", TaskKind::kChoice, "question, choices {text, label}, answerKey", ParseArc},
      {"piqa", TaskKind::kChoice, "goal, sol1, sol2, label", ParsePiqa},
      {"sciq", TaskKind::kChoice, "support, question, distractor1 to distractor3, correct_answer", ParseSciq},
      {kGenericTask, TaskKind::kChoice, "context, choices, answer", ParseChoice}};
  return *tasks;
}

const Task* FindTask(absl::string_view name) {
  for (const Task& task : Tasks()) {
    if (task.name == name) return &task;
  }
  return nullptr;
}

}  // namespace photon::eval
