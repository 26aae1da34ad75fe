// photon score and generate on a small model that was imported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/launch/imported_model.h"
#include "tests/launch/process.h"

namespace photon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Outcome;
using testing::RunPhoton;

constexpr int kVocab = 11;

class ModelCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = absl::StrCat(::testing::TempDir(), "/photon-cli-model-", getpid());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    testing::ImportSmallModel(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string Tokens(const std::string& json) {
    std::ofstream(dir_ + "/tokens.json") << json;
    return dir_ + "/tokens.json";
  }
  Outcome Score(const std::string& json, const std::string& options = "") {
    return RunPhoton(absl::StrCat("score --checkpoint ", dir_, "/checkpoint --tokens ", Tokens(json), " ", options));
  }
  Outcome GenerateTokens(const std::string& json, const std::string& options) {
    return RunPhoton(absl::StrCat("generate --checkpoint ", dir_, "/checkpoint --prompt-tokens ", Tokens(json),
                                  " --output tokens ", options));
  }

  std::string dir_;
};

TEST_F(ModelCommands, ScorePrintsOneArray) {
  for (const char* dtype : {"", "--dtype f32", "--dtype bf16"}) {
    const Outcome outcome = Score("[1, 2, 3, 4, 5, 6, 7]", dtype);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto scores = nlohmann::json::parse(outcome.out).get<std::vector<double>>();
    ASSERT_EQ(scores.size(), 6u);
    for (const double score : scores) EXPECT_LT(score, 0);
  }
  EXPECT_EQ(Score("[3]").out, "[]\n");
}

TEST_F(ModelCommands, ScoresOverTheVocabularyAreADistribution) {
  double sum = 0;
  for (int id = 0; id < kVocab; ++id) {
    const Outcome outcome = Score(absl::StrCat("[1, 2, ", id, "]"));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    sum += std::exp(nlohmann::json::parse(outcome.out)[1].get<double>());
  }
  EXPECT_NEAR(sum, 1, 1e-5);  // 11 terms, each with a relative error of some tens of f32 roundings (6e-8)
}

TEST_F(ModelCommands, ScoreRefusesBadTokens) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "holds no tokens"}, {"[1, 11]", "11"}, {"[1, -1]", "-1"}, {"[1", "JSON"}};
  for (const auto& [json, problem] : cases) {
    const Outcome outcome = Score(json);
    EXPECT_EQ(outcome.exit_code, 2) << json;
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_THAT(outcome.err, HasSubstr("tokens.json"));
    EXPECT_THAT(outcome.err, HasSubstr(problem));
  }
}

TEST_F(ModelCommands, GeneratePrintsExactlyAsManyIdsAsAskedFor) {
  for (const char* mode : {"hier", "hier-parallel", "rec"}) {
    for (const int count : {0, 1, 9}) {
      const Outcome outcome =
          GenerateTokens("[1, 2, 3, 4, 5]", absl::StrCat("--greedy --max-new-tokens ", count, " --mode ", mode));
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
      EXPECT_EQ(nlohmann::json::parse(outcome.out).get<std::vector<int>>().size(), static_cast<size_t>(count)) << mode;
      EXPECT_THAT(outcome.err, IsEmpty());
    }
  }
}

TEST_F(ModelCommands, GreedyHierTakesTheBestScoredToken) {
  const int chosen = nlohmann::json::parse(GenerateTokens("[1, 2]", "--greedy --max-new-tokens 1").out)[0];
  double best = -INFINITY;
  int expected = -1;
  for (int id = 0; id < kVocab; ++id) {
    const double score = nlohmann::json::parse(Score(absl::StrCat("[1, 2, ", id, "]")).out)[1];
    if (score > best) best = score, expected = id;
  }
  EXPECT_EQ(chosen, expected);
}

TEST_F(ModelCommands, SamplingFollowsTheSeed) {
  const auto draw = [&](int seed) {
    return GenerateTokens("[]", absl::StrCat("--max-new-tokens 24 --temperature 1.5 --seed ", seed)).out;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST_F(ModelCommands, GenerateRefusesBadInput) {
  const std::string base = absl::StrCat("generate --checkpoint ", dir_, "/checkpoint ");
  const std::string ids = "--prompt-tokens " + Tokens("[1, 2]") + " --output tokens ";
  const std::pair<std::string, const char*> cases[] = {
      {base, "[--prompt,--prompt-tokens,--input] is required"},
      {base + ids + "--prompt x", "2 were given"},
      {base + "--prompt hello", "import --tokenizer FILE"},
      {base + "--prompt 'caf\xe9'", "--prompt: byte 4 is not UTF-8"},
      {base + "--prompt-tokens " + Tokens("[1, 2]"), "--output tokens"},
      {base + "--prompt-tokens /no/ids.json --output tokens", "/no/ids.json"},
      {base + ids + "--mode fast", "--mode"},
      {base + ids + "--greedy --temperature 0.5", "--greedy"},
      {base + ids + "--max-new-tokens 9223372036854775807",
       "max-new-tokens is 9223372036854775807: give 2147483647 or less"},
      {base + ids + "--max-new-tokens -1", "--max-new-tokens: -1 is not an integer of 0 or more"},
      {base + ids + "--temperature -1", "temperature"},
      {base + ids + "--seed -1", "--seed: -1 is not an integer from 0 to 18446744073709551615"},
      {base + ids + "--seed 18446744073709551616", "--seed: 18446744073709551616 is not an integer"},
      {base + ids + "--n 65537", "--n: 65537 is not an integer from 1 to 65536"},
      {base + ids + "--top-p 0", "top"},
      {base + ids + "--top-p abc", "--top-p: \"abc\" is not a number"},
      {base + ids + "--top-k 1.5", "--top-k: \"1.5\" is not an integer"},
      {"generate --checkpoint /no/run " + ids, "/no/run"}};
  for (const auto& [arguments, problem] : cases) {
    const Outcome outcome = RunPhoton(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments << outcome.err;
    EXPECT_THAT(outcome.out, IsEmpty()) << arguments;
    EXPECT_THAT(outcome.err, HasSubstr(problem)) << arguments;
  }
  const Outcome cuda = RunPhoton(base + ids + "--device cuda");
  EXPECT_EQ(cuda.exit_code, 4);
  EXPECT_THAT(cuda.err, HasSubstr("--device cuda: "));
}

}  // namespace
}  // namespace photon
