#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "inference/eval/task.h"

namespace photon::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

absl::StatusOr<Document> Parse(const char* task, const std::string& json) {
  return FindTask(task)->parse(Json::parse(json));
}

std::vector<std::string> Continuations(const Document& document) {
  std::vector<std::string> texts;
  for (const TextRequest& request : document.requests) texts.push_back(request.continuation);
  return texts;
}

TEST(EvalTask, WikitextCountsBeforeItCleans) {
  for (const char* field : {"page", "text"}) {
    const Document document = *Parse("wikitext", absl::StrCat("{\"", field, "\": \" \\n 1 @,@ 2 , \u00e9 \\n\"}"));
    ASSERT_EQ(document.requests.size(), 1u);
    EXPECT_EQ(document.requests[0].context, "");
    EXPECT_EQ(document.requests[0].continuation, "\n1,2, \u00e9\n");
    EXPECT_EQ(document.words, 7);
    EXPECT_EQ(document.bytes, 17);
  }
}

TEST(EvalTask, TextIsTakenAsItIs) {
  const Document document = *Parse("text", R"({"text": "1 @,@ 2"})");
  EXPECT_THAT(Continuations(document), ElementsAre("1 @,@ 2"));
  EXPECT_EQ(document.words, 3);
}

TEST(EvalTask, LambadaAsksForTheLastWord) {
  const Document document = *Parse("lambada_openai", R"({"text": "He saw  the\nold dog"})");
  EXPECT_EQ(document.requests[0].context, "He saw  the\nold");
  EXPECT_EQ(document.requests[0].continuation, " dog");
  const Document word = *Parse("lambada_openai", R"({"text": "dog"})");
  EXPECT_EQ(word.requests[0].context, "");
  EXPECT_EQ(word.requests[0].continuation, " dog");
}

TEST(EvalTask, HellaSwag) {
  const Document document = *Parse("hellaswag", R"({"activity_label": "Home", "ctx_a": "[header] Water. [title] Fill.",
      "ctx_b": "then HE", "endings": ["[step] pours", "drinks"], "label": "1"})");
  EXPECT_EQ(document.requests[0].context, "Home: Water.. Fill. Then he");
  EXPECT_THAT(Continuations(document), ElementsAre("  pours", " drinks"));
  EXPECT_EQ(document.answer, 1);
  EXPECT_THAT(document.choice_characters, ElementsAre(6, 6));
}

TEST(EvalTask, Arc) {
  const Document document = *Parse("arc_easy", R"({"question": "Which is wet?", "answerKey": "2",
      "choices": {"text": ["sand", "wąter"], "label": ["1", "2"]}})");
  EXPECT_EQ(document.requests[1].context, "Question: Which is wet?\nAnswer:");
  EXPECT_THAT(Continuations(document), ElementsAre(" sand", " wąter"));
  EXPECT_EQ(document.answer, 1);
  EXPECT_THAT(document.choice_characters, ElementsAre(4, 5));
  EXPECT_THAT(document.choice_bytes, ElementsAre(4, 6));
}

TEST(EvalTask, Piqa) {
  const Document document = *Parse("piqa", R"({"goal": "Dry shoes", "sol1": "a", "sol2": "b", "label": 1})");
  EXPECT_EQ(document.requests[0].context, "Question: Dry shoes\nAnswer:");
  EXPECT_THAT(Continuations(document), ElementsAre(" a", " b"));
  EXPECT_EQ(document.answer, 1);
}

TEST(EvalTask, Sciq) {
  const Document document = *Parse("sciq", R"({"support": "  Hearts pump. ", "question": "What?", "distractor1": "a",
      "distractor2": "b", "distractor3": "c", "correct_answer": "d"})");
  EXPECT_EQ(document.requests[0].context, "Hearts pump. \nQuestion: What?\nAnswer:");
  EXPECT_THAT(Continuations(document), ElementsAre(" a", " b", " c", " d"));
  EXPECT_EQ(document.answer, 3);
}

TEST(EvalTask, Generic) {
  const Document document = *Parse("choice", R"({"context": "A dog", "choices": ["barks", "sings"], "answer": 0})");
  EXPECT_EQ(document.requests[1].context, "A dog");
  EXPECT_THAT(Continuations(document), ElementsAre(" barks", " sings"));
}

TEST(EvalTask, ErrorsNameTheField) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"text", "{}", "there is no field \"text\""},
      {"text", R"({"text": 3})", "\"text\" is number, not a string"},
      {"choice", R"({"context": "", "choices": "a", "answer": 0})", "\"choices\" is string, not an array of strings"},
      {"choice", R"({"context": "", "choices": ["a", 2], "answer": 0})", "\"choices[1]\" is number, not a string"},
      {"choice", R"({"context": "", "choices": ["a"], "answer": 1})", "\"answer\" is 1: there are 1 choices"},
      {"choice", R"({"context": "", "choices": [], "answer": 0})", "\"choices\" is empty"},
      {"choice", R"({"context": "", "choices": ["a", ""], "answer": 0})", "\"choices[1]\" is empty"},
      {"choice", R"({"context": "", "choices": ["a"], "answer": 0.5})", "\"answer\" is number, not the index"},
      {"piqa", R"({"goal": "", "sol1": "", "sol2": "", "label": -1})", "test splits without answers"},
      {"hellaswag", R"({"activity_label": "", "ctx_a": "", "ctx_b": "", "endings": ["a"], "label": ""})",
       "test splits without answers"},
      {"arc_easy", R"({"question": "", "choices": {"text": ["a"], "label": []}, "answerKey": "A"})",
       "1 texts and 0 labels"},
      {"arc_easy", R"({"question": "", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "B"})",
       "\"answerKey\" is \"B\""},
      {"arc_easy", R"({"question": "", "choices": ["a"], "answerKey": "B"})", "not an object"}};
  for (const auto& [task, json, problem] : cases) {
    const absl::Status status = Parse(task, json).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << json;
    EXPECT_THAT(std::string(status.message()), HasSubstr(problem)) << json;
  }
}

}  // namespace
}  // namespace photon::eval
