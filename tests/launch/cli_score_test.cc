// photon score on JSON lines, and photon generate's options, as a user meets them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/launch/imported_model.h"
#include "tests/launch/process.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Outcome;
using testing::RunPhoton;

// A PHOTON of 11 ids whose meta-context is 4 tokens.
class ScoreLinesCommand : public ::testing::Test {
 protected:
  void SetUp() override { testing::ImportSmallModel(folder_.path()); }
  Outcome Score(const std::string& lines, const std::string& options = "") {
    return RunPhoton(absl::StrCat("score --checkpoint ", folder_ / "checkpoint", " --input ",
                                  folder_.Write("lines.jsonl", lines), " ", options));
  }
  std::vector<json> Scores(const std::string& lines, const std::string& options = "") {
    const Outcome outcome = Score(lines, options);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return Parsed(outcome.out);
  }
  static std::vector<json> Parsed(const std::string& text) {
    std::vector<json> parsed;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) parsed.push_back(json::parse(line));
    return parsed;
  }
  Outcome Generate(const std::string& options) {
    return RunPhoton(absl::StrCat("generate --checkpoint ", folder_ / "checkpoint", " --prompt-tokens ",
                                  folder_.Write("prompt.json", "[1, 2, 3]"), " ", options));
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ScoreLinesCommand, OneLineForEachInOrder) {
  const std::string lines =
      "{\"id\": {\"any\": [1]}, \"tokens\": [1, 2, 3, 4, 5, 6, 7], \"other\": 0}\n"
      "\n"
      "{\"tokens\": [9]}\r\n"
      "{\"id\": \"b\", \"tokens\": [1, 2, 3]}";
  std::string alone;
  for (const char* options : {"--batch-tokens 0", "", "--batch-tokens 6"}) {
    const std::vector<json> scores = Scores(lines, options);
    ASSERT_EQ(scores.size(), 3u);
    EXPECT_EQ(scores[0]["id"], json::parse("{\"any\": [1]}"));
    EXPECT_EQ(scores[0]["logprobs"].size(), 6u);
    EXPECT_EQ(scores[1]["line"], 3);
    EXPECT_FALSE(scores[1].contains("id"));
    EXPECT_EQ(scores[1]["scored"], 0);
    EXPECT_TRUE(scores[1]["perplexity"].is_null());
    EXPECT_EQ(scores[2]["id"], "b");
    EXPECT_EQ(scores[2]["tokens"], 3);
    double sum = 0;
    for (const json& value : scores[0]["logprobs"]) sum += value.get<double>();
    EXPECT_NEAR(scores[0]["sum_logprob"].get<double>(), sum, 1e-12);
    EXPECT_NEAR(scores[0]["perplexity"].get<double>(), std::exp(-sum / 6), 1e-9 * std::exp(-sum / 6));
    // The same as --tokens gives: f32 throughout, sums of at most 11 terms in another order.
    const Outcome single = RunPhoton(absl::StrCat("score --checkpoint ", folder_ / "checkpoint", " --tokens ",
                                                  folder_.Write("t.json", "[1, 2, 3, 4, 5, 6, 7]")));
    const auto want = json::parse(single.out).get<std::vector<double>>();
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(scores[0]["logprobs"][i].get<double>(), want[i], 1e-4);
  }
  EXPECT_FALSE(Scores(lines, "--summary")[0].contains("logprobs"));
}

TEST_F(ScoreLinesCommand, ReadsStdin) {
  const std::string path = folder_.Write("in", "{\"tokens\": [1, 2]}\n");
  const Outcome outcome = RunPhoton(absl::StrCat("score --checkpoint ", folder_ / "checkpoint", " --input - < ", path));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(Parsed(outcome.out)[0]["scored"], 1);
}

TEST_F(ScoreLinesCommand, ErrorsNameTheLine) {
  const std::string good = "{\"tokens\": [1, 2]}\n";
  const std::pair<const char*, const char*> cases[] = {
      {"{\"tokens\": [1, 11]}", "token 1 is 11"}, {"{\"tokens\": []}", "holds no tokens"},
      {"{\"tokens\": [1, -1]}", "element 1"},     {"{\"tokens\": 4}", "holds number"},
      {"{\"text\": 3}", "\"text\" is number"},    {"{\"text\": \"a\", \"tokens\": [1]}", "give either"},
      {"{\"tex\": \"a\"}", "give either"},        {"[1, 2]", "holds array"},
      {"{\"tokens\": [1", "not valid JSON"},      {"{\"text\": \"\xE9\"}", "byte 11 is not UTF-8"}};
  for (const auto& [line, problem] : cases) {
    SCOPED_TRACE(line);
    const std::string lines = absl::StrCat(good, line, "\n", good);
    const Outcome failed = Score(lines);
    EXPECT_EQ(failed.exit_code, 2);
    EXPECT_THAT(failed.err, HasSubstr("lines.jsonl, line 2"));
    EXPECT_THAT(failed.err, HasSubstr(problem));
    EXPECT_EQ(Parsed(failed.out).size(), 1u);  // what stands before it has been answered
    const Outcome skipped = Score(lines, "--on-error skip");
    EXPECT_EQ(skipped.exit_code, 0);
    EXPECT_THAT(skipped.err, HasSubstr("line 2"));
    EXPECT_THAT(skipped.err, HasSubstr("1 line skipped"));
    const std::vector<json> scores = Parsed(skipped.out);
    ASSERT_EQ(scores.size(), 2u);
    EXPECT_EQ(scores[1]["line"], 3);
  }
  EXPECT_THAT(Score("").out, IsEmpty());
  EXPECT_EQ(Score("").exit_code, 0);
}

// Whatever is said of bad lines: none of them could be scored.
TEST_F(ScoreLinesCommand, TextsWithoutATokenizerAreAnErrorAtOnce) {
  const std::string lines = "{\"tokens\": [1, 2]}\n{\"text\": \"a\"}\n{\"tokens\": [1, 2]}\n";
  for (const char* options : {"", "--on-error skip"}) {
    const Outcome outcome = Score(lines, options);
    EXPECT_EQ(outcome.exit_code, 2) << options;
    EXPECT_THAT(outcome.err, HasSubstr("lines.jsonl, line 2: the checkpoint carries no tokenizer"));
    EXPECT_EQ(Parsed(outcome.out).size(), 1u);  // what stands before it has been answered
  }
}

TEST_F(ScoreLinesCommand, RefusesBadOptions) {
  const std::string base = absl::StrCat("score --checkpoint ", folder_ / "checkpoint ");
  const std::string input = "--input " + folder_.Write("in", "{\"tokens\": [1, 2]}\n");
  const std::pair<std::string, const char*> cases[] = {
      {base, "[--tokens,--input] is required"},
      {base + "--input /no/lines.jsonl", "/no/lines.jsonl"},
      {base + "--input /tmp", "is a folder"},
      {base + input + " --mode parallel", "--mode"},
      {base + input + " --mode rec --exact-prefix 6", "--exact-prefix is 6: it must be a multiple of 4"},
      {base + input + " --exact-prefix 4", "--exact-prefix belongs to mode rec"},
      {base + input + " --on-error ignore", "--on-error"},
      {base + input + " --batch-tokens -1", "--batch-tokens"}};
  for (const auto& [arguments, problem] : cases) {
    const Outcome outcome = RunPhoton(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    EXPECT_THAT(outcome.out, IsEmpty()) << arguments;
    EXPECT_THAT(outcome.err, HasSubstr(problem)) << arguments;
  }
}

// What rec generates, rec scores the same.
TEST_F(ScoreLinesCommand, RecAgreesWithGeneration) {
  const Outcome outcome = RunPhoton(absl::StrCat("generate --checkpoint ", folder_ / "checkpoint", " --prompt-tokens ",
                                                 folder_.Write("prompt.json", "[1, 2, 3, 4]"),
                                                 " --mode rec --greedy --max-new-tokens 8 --output json --logprobs 1"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json choice = json::parse(outcome.out)["choices"][0];
  std::vector<int> tokens = {1, 2, 3, 4};
  for (const json& token : choice["tokens"]) tokens.push_back(token);
  const json score = Scores(json({{"tokens", tokens}}).dump() + "\n", "--mode rec --exact-prefix 4").at(0)["logprobs"];
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(choice["logprobs"][i]["top"][0]["token"], choice["tokens"][i]);
    EXPECT_NEAR(score[3 + i].get<double>(), choice["logprobs"][i]["logprob"].get<double>(), 1e-4);
  }
}

TEST_F(ScoreLinesCommand, GenerateJsonAndContinuations) {
  const Outcome outcome = Generate("--output json --n 3 --max-new-tokens 6 --stop-token 4 --logprobs 0 --seed 3");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  ASSERT_EQ(result["choices"].size(), 3u);
  EXPECT_EQ(result["usage"]["prompt_tokens"], 3);
  const std::vector<json> lines =
      Parsed(Generate("--output tokens --n 3 --max-new-tokens 6 --stop-token 4 --seed 3").out);
  for (size_t i = 0; i < 3; ++i) {
    const json& choice = result["choices"][i];
    EXPECT_EQ(choice["index"], i);
    EXPECT_EQ(choice["tokens"], lines[i]);
    EXPECT_EQ(choice["finish_reason"], choice["tokens"].size() == 6 ? "length" : "stop");
    double sum = 0;
    for (const json& token : choice["logprobs"]) sum += token["logprob"].get<double>();
    EXPECT_NEAR(choice["sum_logprob"].get<double>(), sum, 1e-12);
  }
}

TEST_F(ScoreLinesCommand, BiasesAndMinimumTakeEffect) {
  EXPECT_EQ(Generate("--output tokens --greedy --max-new-tokens 3 --logit-bias 7=1e6").out, "[7,7,7]\n");
  const Outcome held = Generate(
      "--output tokens --greedy --max-new-tokens 3 --logit-bias 7=1e6 --logit-bias 5=1e5 --stop-token 7 "
      "--min-new-tokens 2");
  EXPECT_EQ(held.out, "[5,5]\n") << held.err;
}

TEST_F(ScoreLinesCommand, GenerateNamesTheBadOption) {
  const std::pair<const char*, const char*> cases[] = {
      {"--min-p 2", "--min-p is 2"},
      {"--typical-p 0", "--typical-p is 0"},
      {"--repetition-penalty 0", "--repetition-penalty is 0"},
      {"--presence-penalty 1000", "--presence-penalty is 1000"},
      {"--frequency-penalty nan", "--frequency-penalty is nan"},
      {"--logit-bias 3", "--logit-bias: \"3\" is not ID=BIAS"},
      {"--logit-bias 3=x", "--logit-bias"},
      {"--logit-bias 11=1", "logit-bias: the model has no token id 11: its vocabulary of 11 has ids 0 to 10"},
      {"--stop-token 11", "stop-token: the model has no token id 11"},
      {"--allowed-token 11", "--allowed-token: the model has no token id 11"},
      {"--bad-word x", "--bad-word needs a tokenizer"},
      {"--stop ''", "--stop is an empty string"},
      {"--stop x", "stop strings need a tokenizer"},
      {"--min-new-tokens 9 --max-new-tokens 3", "--min-new-tokens is 9"},
      {"--n 0", "--n"},
      {"--logprobs 2", "--logprobs needs --output json"},
      {"--greedy --min-p 0.1", "--greedy"}};
  for (const auto& [options, problem] : cases) {
    const Outcome outcome = Generate(absl::StrCat("--output tokens ", options));
    EXPECT_EQ(outcome.exit_code, 2) << options;
    EXPECT_THAT(outcome.out, IsEmpty()) << options;
    EXPECT_THAT(outcome.err, HasSubstr(problem)) << options;
  }
}

}  // namespace
}  // namespace photon
