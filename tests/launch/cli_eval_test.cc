// photon eval, as a user meets it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/match.h"
#include "tests/data/bpe/styles.h"
#include "tests/launch/model_checkpoint.h"
#include "tests/launch/process.h"
#include "tests/support/models.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kDocuments = std::string(PHOTON_SOURCE_DIR) + "/tests/data/eval/";

// A PHOTON whose meta-context is 4 tokens, with GPT-2's way of tokenizing; trained, says its checkpoint, at 64 tokens.
class EvalCommand : public ::testing::Test {
 protected:
  void SetUp() override { Write({.chunks = {2, 2}, .vocab = 641}, FindStyle("gpt2").tokenizer.dump()); }
  void Write(const TinyModel& tiny, const std::string& tokenizer) {
    WriteModelCheckpoint(folder_ / "model", *MakeModel(context_, tiny), tokenizer);
  }
  Outcome Eval(const std::string& options, const std::string& variables = "") {
    return RunPhoton(absl::StrCat("eval --checkpoint ", folder_ / "model", " ", options), variables);
  }
  // What --output says.
  json Results(const std::string& options) {
    const Outcome outcome = Eval(absl::StrCat(options, " --output ", folder_ / "out.json"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return json::parse(folder_.Read("out.json"));
  }
  std::vector<json> Samples(const std::string& options) {
    const Outcome outcome = Eval(absl::StrCat(options, " --samples ", folder_ / "samples.jsonl"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return Parsed(folder_.Read("samples.jsonl"));
  }
  static std::vector<json> Parsed(const std::string& text) {
    std::vector<json> parsed;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) parsed.push_back(json::parse(line));
    return parsed;
  }

  TestContext context_;
  TemporaryFolder folder_;
};

TEST_F(EvalCommand, EveryTask) {
  std::string tasks = absl::StrCat("--task ", kDocuments, "choice.jsonl");
  for (const char* name : {"wikitext", "lambada_openai", "hellaswag", "arc_easy", "piqa", "sciq"}) {
    absl::StrAppend(&tasks, " --task ", name, "=", kDocuments, name, ".jsonl");
  }
  for (const char* mode : {"", " --mode rec", " --mode rec --exact-prefix 8"}) {
    const json all = Results(tasks + mode);
    EXPECT_EQ(all["config"]["max_length"], 64);
    EXPECT_EQ(all["config"]["dtype"], "f32");
    EXPECT_FALSE(all["config"]["checkpoint"].empty());
    const json& results = all["results"];
    EXPECT_EQ(results.size(), 7u);
    for (const char* name : {"choice", "hellaswag", "arc_easy", "piqa", "sciq"}) {
      for (const char* metric : {"acc", "acc_stderr", "acc_norm", "acc_norm_stderr", "acc_bytes"}) {
        EXPECT_TRUE(results[name].contains(metric)) << name << metric;
      }
    }
    EXPECT_EQ(results["choice"]["documents"], 2);
    EXPECT_EQ(results["sciq"]["documents"], 3);
    EXPECT_GT(results["lambada_openai"]["perplexity"], 1);
    EXPECT_GT(results["wikitext"]["word_perplexity"], results["wikitext"]["byte_perplexity"]);
    EXPECT_GT(results["wikitext"]["bits_per_byte"], 0);
  }
  const Outcome outcome = Eval(tasks);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("metric"), HasSubstr("word_perplexity"), HasSubstr("acc_norm")));
}

// A choice's log-likelihood is what `photon score` gives its tokens.
TEST_F(EvalCommand, LogLikelihoodsAreScores) {
  const std::vector<json> samples = Samples(absl::StrCat("--batch-tokens 1 --task ", kDocuments, "choice.jsonl"));
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0]["answer"], 0);
  ASSERT_EQ(samples[0]["continuations"].size(), 3u);
  for (const json& continuation : samples[0]["continuations"]) {
    const std::string text = samples[0]["context"].get<std::string>() + continuation["text"].get<std::string>();
    const Outcome score = RunPhoton(absl::StrCat("score --checkpoint ", folder_ / "model", " --input ",
                                                 folder_.Write("text", json({{"text", text}}).dump())));
    const std::vector<double> log_probabilities = json::parse(score.out)["logprobs"];
    double sum = 0;
    for (size_t i = 1; i <= continuation["tokens"].get<size_t>(); ++i) {
      sum += log_probabilities[log_probabilities.size() - i];
    }
    // f32, and products of other shapes: no more than docs/generation.md allows a batch.
    EXPECT_NEAR(continuation["log_likelihood"].get<double>(), sum, 1e-4);
  }
}

TEST_F(EvalCommand, LimitAndLength) {
  const std::string task = absl::StrCat("--task wikitext=", kDocuments, "wikitext.jsonl");
  EXPECT_EQ(Results(task + " --limit 2")["results"]["wikitext"]["documents"], 2);
  const double windows = Results(task)["results"]["wikitext"]["bits_per_byte"];
  const json whole = Results(task + " --max-length 0");
  EXPECT_TRUE(whole["config"]["max_length"].is_null());
  EXPECT_NE(whole["results"]["wikitext"]["bits_per_byte"].get<double>(), windows);
  EXPECT_EQ(Results(task + " --no-bos")["results"]["wikitext"]["bits_per_byte"].get<double>(), windows)
      << "documents begin behind begin-of-text in any case";
}

TEST_F(EvalCommand, ErrorsNameFileLineAndField) {
  const std::string good = R"({"context": "a b", "choices": ["c", "d"], "answer": 0})";
  const std::pair<const char*, const char*> cases[] = {
      {R"({"context": "a", "choices": ["b"]})", "there is no field \"answer\""},
      {R"({"context": "a", "choices": ["b"], "answer": 2})", "\"answer\" is 2"},
      {R"([1])", "holds array"},
      {R"({"context")", "not valid JSON"},
      {"{\"context\": \"\xE9\"}", "is not UTF-8"}};
  for (const auto& [line, problem] : cases) {
    const std::string file = folder_.Write("mine.jsonl", absl::StrCat(good, "\n\n", line, "\n", good, "\n"));
    const Outcome failed = Eval("--task " + file);
    EXPECT_EQ(failed.exit_code, 2) << line;
    EXPECT_THAT(failed.err, AllOf(HasSubstr("mine.jsonl, line 3: "), HasSubstr(problem)));
    EXPECT_THAT(failed.out, IsEmpty());
    const Outcome skipped = Eval(absl::StrCat("--on-error skip --task ", file, " --output ", folder_ / "out.json"));
    EXPECT_EQ(skipped.exit_code, 0) << skipped.err;
    EXPECT_THAT(skipped.err, AllOf(HasSubstr(problem), HasSubstr("; skipped"), HasSubstr("1 line skipped")));
    const json result = json::parse(folder_.Read("out.json"))["results"]["mine"];
    EXPECT_EQ(result["documents"], 2);
    EXPECT_EQ(result["skipped"], 1);
  }
}

TEST_F(EvalCommand, WritesOverNothingThatItReads) {
  const std::string good = R"({"context": "a", "choices": ["b", "c"], "answer": 0})";
  const std::string file = folder_.Write("mine.jsonl", good);
  for (const char* option : {" --output ", " --samples "}) {
    const Outcome outcome = Eval(absl::StrCat("--task ", file, option, file));
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.err, HasSubstr("which --task reads"));
  }
  EXPECT_EQ(folder_.Read("mine.jsonl"), good);
}

TEST_F(EvalCommand, RefusesBadOptions) {
  const std::string task = absl::StrCat("--task ", kDocuments, "choice.jsonl");
  const std::pair<std::string, const char*> cases[] = {
      {"", "[--task,--drift] is required"},
      {"--task /no/file.jsonl", "/no/file.jsonl"},
      {"--task helaswag=x.jsonl", "no task \"helaswag\"; did you mean \"hellaswag\"?"},
      {absl::StrCat(task, " ", task), "there is a task choice already"},
      {"--task " + folder_.Write("empty.jsonl", "\n"), "holds no documents"},
      {task + " --exact-prefix 4", "--exact-prefix belongs to mode rec"},
      {task + " --mode rec --exact-prefix 6", "--exact-prefix is 6: it must be a multiple of 4"},
      {task + " --mode parallel", "--mode"},
      {task + " --limit 0", "--limit"},
      {task + " --max-length 1", "more than --max-length 1"},
      {task + " --output /no/folder/out.json", "/no/folder/out.json"},
      {task + " --prefix 4", "--prefix requires --drift"},
      {task + " --drift rec", "--task"},
      {"--drift rec", "give either --tokens or --text"},
      {"--drift rec --limit 4 --text x", "--limit requires --task"},
      {"--drift rec --text /no/text", "/no/text"},
      {"--drift rec --text x --plot /no/folder/it.png", "there is no folder /no/folder"},
      {"--task text=" + folder_.Write("silent.jsonl", "{\"text\": \"\"}\n{\"text\": \"\"}\n"),
       "silent.jsonl: all texts are empty (2)"},
      {"--drift rec --text x --prefix 9223372036854775792",
       "--prefix: 9223372036854775792 is not an integer from 0 to 2147483647"},
      {"--drift rec --text x --lengths 4,9223372036854775807",
       "--lengths: 9223372036854775807 is not an integer from 1"},
      {"--drift rec --text x --sequences 2147483648", "--sequences: 2147483648 is not an integer from 1 to 2147483647"},
      {"--drift rec --prefix 6 --text x", "--prefix is 6: it must be a multiple of 4"},
      {"--drift rec --prefix 4 --lengths 8,16 --tokens " + folder_.Write("t.json", "[1, 2, 3]"),
       "holds 3 tokens, and 1 x (4 of --prefix + 16 of --lengths) = 20 are needed"}};
  for (const auto& [options, problem] : cases) {
    const Outcome outcome = Eval(options);
    EXPECT_EQ(outcome.exit_code, 2) << options;
    EXPECT_THAT(outcome.err, HasSubstr(problem)) << options;
    EXPECT_THAT(outcome.out, IsEmpty()) << options;
  }
}

TEST_F(EvalCommand, TasksNeedATokenizer) {
  Write({.chunks = {2, 2}, .vocab = 641}, "");
  for (const char* options : {"", " --on-error skip"}) {
    const Outcome outcome = Eval(absl::StrCat("--task ", kDocuments, "choice.jsonl", options));
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.err, HasSubstr("carries no tokenizer"));
  }
}

TEST_F(EvalCommand, DriftOfTokensAndText) {
  const std::vector<int32_t> ids = RandomTokens(2 * (8 + 40), 641, 4);
  const std::string options = absl::StrCat("--drift rec --prefix 8 --lengths 40,16 --sequences 2 --tokens ",
                                           folder_.Write("ids.json", json(ids).dump()));
  const json drift = Results(options);
  ASSERT_EQ(drift["buckets"].size(), 2u);
  EXPECT_EQ(drift["buckets"][1]["from"], 17);
  EXPECT_EQ(drift["buckets"][1]["to"], 40);
  EXPECT_EQ(drift["buckets"][1]["tokens"], 2 * 24);
  EXPECT_EQ(drift["lengths"][0]["to"], 16) << "ascending";
  EXPECT_EQ(drift["lengths"][1]["tokens"], 2 * 40);
  EXPECT_LT(drift["lengths"][1]["log_likelihood"], 0);
  EXPECT_THAT(Eval(options).out, AllOf(HasSubstr("agreement"), HasSubstr("17-40")));

  std::string text = "Some words and";
  for (int i = 0; i < 6; ++i) text += text.substr(0, 200) + " more words";
  const Outcome of_text = Eval("--drift rec --prefix 8 --lengths 40 --text " + folder_.Write("text", text));
  EXPECT_EQ(of_text.exit_code, 0) << of_text.err;
}

TEST_F(EvalCommand, DriftDrawsAPicture) {
  const std::string options = absl::StrCat(
      "--drift rec --prefix 8 --lengths 40 --tokens ", folder_.Write("ids.json", json(RandomTokens(48, 641, 4)).dump()),
      " --output ", folder_ / "out.json", " --plot \"", folder_ / "it's.png", "\"");
  const Outcome without = Eval(options, "PATH=/nowhere");
  EXPECT_EQ(without.exit_code, 0) << "all else is written";
  EXPECT_THAT(without.err, AllOf(HasSubstr("warning: no picture it's"), HasSubstr("gnuplot-nox")));
  EXPECT_FALSE(json::parse(folder_.Read("out.json"))["buckets"].empty());
  const Outcome drawn = Eval(options);
  ASSERT_EQ(drawn.exit_code, 0) << drawn.err;
  if (absl::StrContains(drawn.err, "gnuplot-nox")) GTEST_SKIP() << drawn.err;
  EXPECT_GT(std::filesystem::file_size(folder_ / "it's.png"), 1000u);
}

TEST_F(EvalCommand, DriftNeedsLevels) {
  Write({.chunks = {4}, .vocab = 641}, "");
  const Outcome outcome = Eval("--drift rec --tokens " + folder_.Write("ids.json", "[1]"));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("fewer than two levels"));
}

}  // namespace
}  // namespace photon::testing
