// photon bench paper, as a user meets it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/launch/model_checkpoint.h"
#include "tests/launch/process.h"
#include "tests/support/models.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Presets of its own, of models that take no time.
class BenchCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    Preset("vanilla-tiny", "width: 32 layers: 1");
    Preset("photon-tiny",
           "width: 32 levels { chunk: 2 prefix: 1 encoder_layers: 1 decoder_layers: 1 } "
           "levels { chunk: 2 prefix: 1 encoder_layers: 1 decoder_layers: 1 }");
  }
  void Preset(const std::string& name, const std::string& model) {
    folder_.Write(name + ".textproto",
                  absl::StrCat("run_dir: 'r' model { vocab_size: 64 ffn: 48 heads: 2 ", model,
                               " } data { train: 'd' sequence_length: 64 } training { steps: 1 batch_sequences: 1 }"));
  }
  Outcome Bench(const std::string& options, const std::string& variables = "") {
    return RunPhoton(absl::StrCat("bench paper --device cpu --dtype f32 --configs ", folder_ / "", " ", options),
                     variables);
  }
  json Written() { return json::parse(folder_.Read("out.json"))["results"]; }
  std::string Short() { return absl::StrCat(" --shapes DE --tokens 32 --batches 1 2 --json ", folder_ / "out.json "); }

  TestContext context_;
  TemporaryFolder folder_;
};

std::vector<std::string> Measured(const json& results) {
  std::vector<std::string> names;
  for (const json& result : results) {
    names.push_back(absl::StrCat(result["model"].get<std::string>(), " ", result["mode"].get<std::string>()));
  }
  return names;
}

TEST_F(BenchCommand, MeasuresEveryModelInItsModes) {
  const Outcome outcome = Bench("--models vanilla-tiny photon-tiny" + Short());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(Measured(Written()), ElementsAre("vanilla-tiny hier", "photon-tiny hier", "photon-tiny hier-parallel",
                                               "photon-tiny rec", "photon-tiny-group hier"));
  EXPECT_THAT(outcome.out, HasSubstr("Over the flat model of that size"));
  ASSERT_EQ(Bench("--modes rec --models vanilla-tiny photon-tiny" + Short()).exit_code, 0);
  EXPECT_THAT(Measured(Written()), ElementsAre("vanilla-tiny hier", "photon-tiny rec"));
}

TEST_F(BenchCommand, SkipsModesThatTheModelLacks) {
  WriteModelCheckpoint(folder_ / "model", *MakeModel(context_, {.chunks = {2, 2}, .shift = ModelConfig::ALL}), "");
  const std::string checkpoint = absl::StrCat("--checkpoint ", folder_ / "model", Short());
  const Outcome outcome = Bench(checkpoint);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  ASSERT_EQ(Written().size(), 1u);
  EXPECT_EQ(Written()[0]["mode"], "hier");
  const Outcome none = Bench(checkpoint + "--modes rec");
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(Bench(checkpoint + "--models photon-tiny").err, HasSubstr("--checkpoint excludes --models"));
  EXPECT_THAT(none.err, HasSubstr("mode rec is defined for models with shift: TOP"));
}

TEST_F(BenchCommand, AllIsJudgedBeforeAnythingIsMeasured) {
  const std::pair<const char*, const char*> cases[] = {
      {"--models vanilla-tiny photon-tinny", "photon-tinny.textproto; did you mean \"photon-tiny\"?"},
      {"--models vanilla-tiny --plot x.jpg", "--plot x.jpg: pictures are .png or .svg files"},
      {"--models vanilla-tiny --plot no/such/x.png", "--plot no/such/x.png: there is no folder no/such"},
      {"--models vanilla-tiny --scale large", "--scale large"},
      {"--models vanilla-tiny --most 9223372036854775807", "is not an integer from 2 to 2147483647"},
  };
  for (const auto& [options, problem] : cases) {
    const Outcome outcome = Bench(absl::StrCat(options, Short()));
    EXPECT_EQ(outcome.exit_code, 2) << options;
    EXPECT_THAT(outcome.err, HasSubstr(problem));
    EXPECT_THAT(outcome.out, IsEmpty()) << options;
  }
  EXPECT_THAT(RunPhoton("bench paper --configs /no/such").err, HasSubstr("--configs names the presets' folder"));
}

TEST_F(BenchCommand, AFailureKeepsWhatWasMeasured) {
  Preset("vanilla-huge", "width: 1048576 layers: 64");
  const Outcome outcome = Bench("--models vanilla-tiny vanilla-huge" + Short(), "ulimit -v 16000000;");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("memory"));
  EXPECT_THAT(Measured(Written()), ElementsAre("vanilla-tiny hier"));
  EXPECT_EQ(json::parse(folder_.Read("out.json"))["complete"], false);
}

TEST_F(BenchCommand, WithoutGnuplotAllElseIsWritten) {
  const std::string options = absl::StrCat("--models vanilla-tiny", Short(), "--plot ", folder_ / "it.png");
  const Outcome outcome = Bench(options, "PATH=/nowhere");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("warning: no picture it"), HasSubstr("gnuplot-nox")));
  EXPECT_EQ(Written().size(), 1u);
  EXPECT_THAT(folder_.Read("it.gnuplot"), HasSubstr("vanilla-tiny hier DE"));
}

TEST_F(BenchCommand, DrawsAPictureOfAnyName) {
  const Outcome outcome =
      Bench(absl::StrCat("--models vanilla-tiny", Short(), "--plot \"", folder_ / "it's.png", "\""));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  if (outcome.err.find("gnuplot-nox") != std::string::npos) GTEST_SKIP() << outcome.err;
  EXPECT_GT(std::filesystem::file_size(folder_ / "it's.png"), 1000u);
  ASSERT_EQ(Bench(absl::StrCat("--models vanilla-tiny", Short(), "--plot ", folder_ / "it.svg")).exit_code, 0);
  EXPECT_THAT(folder_.Read("it.svg"), HasSubstr("<svg "));
}

TEST_F(BenchCommand, SmallIsShortUnlessToldOtherwise) {
  const std::string small =
      absl::StrCat("--scale small --models vanilla-tiny --shapes PF --json ", folder_ / "out.json ");
  ASSERT_EQ(Bench(small).exit_code, 0);
  EXPECT_EQ(Written()[0]["prompt"], 256);
  EXPECT_EQ(Written()[0]["tokens"], 16);
  EXPECT_EQ(Written()[0]["runs"][1]["batch"], 32);
  ASSERT_EQ(Bench(small + "--tokens 64 --most 3").exit_code, 0);
  EXPECT_EQ(Written()[0]["prompt"], 64);
  EXPECT_EQ(Written()[0]["runs"][1]["batch"], 3);
}

}  // namespace
}  // namespace photon::testing
