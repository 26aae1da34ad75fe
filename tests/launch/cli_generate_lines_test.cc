// photon generate on JSON lines, as a user meets it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/launch/imported_model.h"
#include "tests/launch/process.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Outcome;
using testing::RunPhoton;

// A PHOTON of 11 ids whose meta-context is 4 tokens.
class GenerateLinesCommand : public ::testing::Test {
 protected:
  void SetUp() override { testing::ImportSmallModel(folder_.path()); }
  Outcome Generate(const std::string& lines, const std::string& options = "") {
    return RunPhoton(absl::StrCat("generate --checkpoint ", folder_ / "checkpoint", " --input ",
                                  folder_.Write("lines.jsonl", lines), " --max-new-tokens 20 ", options));
  }
  std::vector<json> Results(const std::string& lines, const std::string& options = "") {
    const Outcome outcome = Generate(lines, options);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    std::vector<json> parsed;
    std::istringstream stream(outcome.out);
    for (std::string line; std::getline(stream, line);) parsed.push_back(json::parse(line));
    return parsed;
  }

  testing::TemporaryFolder folder_;
};

constexpr char kLines[] =
    "{\"id\": {\"any\": [1]}, \"tokens\": [1, 2, 3, 4, 5, 6, 7]}\n"
    "{\"tokens\": [9]}\n"
    "{\"id\": \"b\", \"tokens\": []}\n"
    "{\"tokens\": [1, 2, 3, 4, 5, 6, 7]}\n";

TEST_F(GenerateLinesCommand, OneLineForEachInOrderWhateverRunsTogether) {
  for (const char* mode : {"hier", "hier-parallel", "rec"}) {
    const std::vector<json> together = Results(kLines, absl::StrCat("--mode ", mode));
    ASSERT_EQ(together.size(), 4u);
    EXPECT_EQ(together[0]["id"], json::parse("{\"any\": [1]}"));
    EXPECT_EQ(together[1]["line"], 2);
    EXPECT_EQ(together[2]["id"], "b");
    EXPECT_EQ(together[2]["usage"]["prompt_tokens"], 0);
    for (const json& result : together) EXPECT_EQ(result["choices"][0]["tokens"].size(), 20u);
    EXPECT_EQ(Results(kLines, absl::StrCat("--max-running 1 --prefill-tokens 4 --no-prefix-sharing --mode ", mode)),
              together);
    // Equal prompts go on differently, and the first line as --prompt-tokens does.
    EXPECT_NE(together[0]["choices"], together[3]["choices"]);
    const Outcome alone = RunPhoton(
        absl::StrCat("generate --checkpoint ", folder_ / "checkpoint", " --max-new-tokens 20 --output tokens --mode ",
                     mode, " --prompt-tokens ", folder_.Write("prompt.json", "[1, 2, 3, 4, 5, 6, 7]")));
    EXPECT_EQ(json::parse(alone.out), together[0]["choices"][0]["tokens"]);
  }
}

TEST_F(GenerateLinesCommand, TheBestOfSeveral) {
  const std::vector<json> all = Results(kLines, "--n 5 --logprobs 0"), best = Results(kLines, "--n 2 --best-of 5");
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(best[i]["usage"]["completion_tokens"], 100);
    ASSERT_EQ(best[i]["choices"].size(), 2u);
    double least = best[i]["choices"][1]["sum_logprob"];
    EXPECT_GE(best[i]["choices"][0]["sum_logprob"], least);
    int better = 0;
    for (const json& choice : all[i]["choices"]) better += choice["sum_logprob"] >= least;
    EXPECT_EQ(better, 2);
  }
  EXPECT_THAT(Generate(kLines, "--n 3 --best-of 2").err, HasSubstr("--best-of is 2, less than --n, 3"));
  EXPECT_THAT(Generate(kLines, "--n 3 --vote '('").err, HasSubstr("--vote: \"(\" is no regular expression"));
}

TEST_F(GenerateLinesCommand, BadLinesAreNamed) {
  const std::string bad = absl::StrCat("{\"tokens\": [1]}\n{\"tokens\": [11]}\nnonsense\n", kLines);
  const Outcome fails = Generate(bad);
  EXPECT_EQ(fails.exit_code, 2);
  EXPECT_THAT(fails.err, HasSubstr("lines.jsonl, line 2: "));
  EXPECT_EQ(std::count(fails.out.begin(), fails.out.end(), '\n'), 1);  // what came before is written
  const Outcome skips = Generate(bad, "--on-error skip");
  EXPECT_EQ(skips.exit_code, 0) << skips.err;
  EXPECT_THAT(skips.err, HasSubstr("line 3: not valid JSON (each line is an object of its own); skipped"));
  EXPECT_THAT(skips.err, HasSubstr("2 lines skipped"));
  EXPECT_EQ(std::count(skips.out.begin(), skips.out.end(), '\n'), 5);
  const Outcome text = Generate("{\"text\": \"a\"}\n", "--on-error skip");
  EXPECT_EQ(text.exit_code, 2);
  EXPECT_THAT(text.err, HasSubstr("line 1: the checkpoint carries no tokenizer"));
  EXPECT_THAT(Generate(kLines, "--state-memory 100B").err, HasSubstr(" tokens in mode "));
  const Outcome much = Generate(kLines, "--state-memory 999TiB");
  EXPECT_EQ(much.exit_code, 0);
  EXPECT_THAT(much.err, HasSubstr("warning: --state-memory is 1098.4 TB, and"));
  std::string longer = "{\"tokens\": [1";
  for (int i = 1; i < 400; ++i) longer += ", 1";
  longer += "]}\n";
  EXPECT_THAT(Generate(longer, "--state-memory 20kB").err, HasSubstr("line 1: the states of 420 tokens"));
  EXPECT_THAT(Generate(longer, "--state-memory 20kB").err, HasSubstr("lower --max-new-tokens"));
  EXPECT_THAT(Generate(kLines, "--n 3 --max-running 2").err, HasSubstr("--max-running is 2"));
  EXPECT_THAT(Generate(kLines, "--state-memory much").err, HasSubstr("--state-memory: much: not an amount of memory"));
}

TEST_F(GenerateLinesCommand, SettingsInLinesArePassedOverWithAWord) {
  const Outcome outcome = Generate(
      "{\"tokens\": [1], \"temperature\": 0, \"label\": 3}\n{\"tokens\": [1], \"temperature\": 1, \"mode\": \"rec\"}\n",
      "");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("line 1: \"temperature\" is passed over"));
  EXPECT_THAT(outcome.err, HasSubstr("line 2: \"mode\" is passed over"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("line 2: \"temperature\"")));
  EXPECT_THAT(outcome.err, Not(HasSubstr("label")));
  const Outcome other = Generate("{\"continuations\": [], \"line\": 1}\n", "");
  EXPECT_THAT(other.err, HasSubstr("it has other fields: continuations, line"));
  EXPECT_THAT(Generate("\x1f\x8b\x08", "").err, HasSubstr("is gzip's: zcat"));
}

TEST_F(GenerateLinesCommand, OptionsThatWouldBeIgnoredAreRefused) {
  EXPECT_THAT(Generate(kLines, "--output json").err, HasSubstr("--output excludes --input"));
  for (const char* option : {"--state-memory 1GiB", "--max-running 2", "--max-context 9", "--prefill-tokens 4",
                             "--no-prefix-sharing", "--batch-invariant", "--on-error skip"}) {
    const Outcome outcome =
        RunPhoton(absl::StrCat("generate --checkpoint ", folder_ / "checkpoint", " --prompt-tokens ",
                               folder_.Write("prompt.json", "[1]"), " --output tokens ", option));
    EXPECT_EQ(outcome.exit_code, 2) << option;
    EXPECT_THAT(outcome.err, HasSubstr("requires --input")) << option;
  }
}

// So many lines are read ahead that all can wait at once.
TEST_F(GenerateLinesCommand, ManyRunAtOnce) {
  std::string lines;
  for (int i = 0; i < 1300; ++i) lines += "{\"tokens\": [1, 2]}\n";
  const Outcome outcome = Generate(lines, "--max-running 300 --on-error skip");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, Not(HasSubstr("skipped")));
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1300);
}

// Whoever writes lines one by one, as answers come, gets each answer before the next line.
TEST_F(GenerateLinesCommand, AnswersWhileTheInputIsQuiet) {
  const std::string more = folder_ / "more";
  ASSERT_EQ(mkfifo(more.c_str(), 0600), 0);
  // In vain after a minute.
  FILE* answers = popen(absl::StrCat("(echo '{\"tokens\": [1]}'; timeout 60 cat ", more, ") | ", PHOTON_BINARY,
                                     " generate --checkpoint ", folder_ / "checkpoint", " --input - --max-new-tokens 3")
                            .c_str(),
                        "r");
  ASSERT_NE(answers, nullptr);
  char line[4096] = "";
  ASSERT_NE(fgets(line, sizeof(line), answers), nullptr);
  EXPECT_EQ(json::parse(line)["line"], 1);
  const int writer = open(more.c_str(), O_WRONLY | O_NONBLOCK);
  ASSERT_GE(writer, 0) << "the input had to end first";
  const std::string second = "\n{\"tokens\": [2]}\n";
  EXPECT_EQ(write(writer, second.data(), second.size()), static_cast<ssize_t>(second.size()));
  ASSERT_NE(fgets(line, sizeof(line), answers), nullptr);
  EXPECT_EQ(json::parse(line)["line"], 3);
  close(writer);
  EXPECT_EQ(pclose(answers), 0);
}

}  // namespace
}  // namespace photon
