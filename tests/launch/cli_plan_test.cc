// `photon plan` as a process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/launch/process.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using testing::Outcome;
using testing::RunPhoton;

std::string Preset(const std::string& name) {
  return absl::StrCat(" --config ", PHOTON_SOURCE_DIR, "/configs/", name, ".textproto ");
}

TEST(CliPlan, RecommendsALayout) {
  const std::string json = absl::StrCat(::testing::TempDir(), "/photon-plan-", getpid(), ".json");
  const Outcome outcome =
      RunPhoton("plan --devices 4 --memory 40GiB --dry-runs 4 --json " + json + Preset("photon-600m"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Recommended: dp "));
  EXPECT_THAT(outcome.out, HasSubstr("Alternatives, the fastest first:"));
  EXPECT_THAT(outcome.out, HasSubstr("Assumptions (h200: NVIDIA H200"));
  const nlohmann::json plan = nlohmann::json::parse(std::ifstream(json));
  std::filesystem::remove(json);
  ASSERT_FALSE(plan["fitting"].empty());
  for (const auto& layout : plan["fitting"]) {
    EXPECT_EQ(layout["dp"].get<int>() * layout["pp"].get<int>() * layout["cp"].get<int>() * layout["tp"].get<int>(), 4);
    EXPECT_LT(layout["memory"].get<double>(), 40 * 0x1p30);
    EXPECT_GE(layout["step_s"], plan["fitting"][0]["step_s"]);
  }
}

TEST(CliPlan, DryRunBuildsEveryRank) {
  const Outcome outcome = RunPhoton("plan --devices 8 --dry-run --layout dp=2,cp=4" + Preset("tiny"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("8 ranks built, all their "));
  EXPECT_THAT(outcome.out, HasSubstr("rank    0 [dp 0 pp 0 cp 0 tp 0]"));
}

TEST(CliPlan, WarnsOfTensorParallelismAcrossNodes) {
  const Outcome outcome = RunPhoton("plan --devices 4 --per-node 1 --layout dp=2,tp=2" + Preset("tiny"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("warning: parallel.tp = 2 crosses machines"));
}

TEST(CliPlan, DrawsThePipeline) {
  const std::string svg = absl::StrCat(::testing::TempDir(), "/photon-plan-", getpid(), ".svg");
  const Outcome outcome = RunPhoton("plan --devices 2 --layout pp=2,micro=1 --schedule " + svg + Preset("tiny"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  std::ifstream file(svg);
  const std::string drawn((std::istreambuf_iterator<char>(file)), {});
  std::filesystem::remove(svg);
  EXPECT_THAT(drawn, HasSubstr("<svg"));
  EXPECT_THAT(drawn, HasSubstr("runs/tiny"));
  EXPECT_EQ(RunPhoton("plan --devices 2 --layout dp=2 --schedule " + svg + Preset("tiny")).exit_code, 2);
}

TEST(CliPlan, TooLittleMemoryIsRefused) {
  const Outcome outcome = RunPhoton("plan --devices 1 --memory 4GiB --layout dp=1" + Preset("photon-1.2b"));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("rank 0 needs "));
  EXPECT_THAT(outcome.err, HasSubstr("and has 1.1 GB for tensors"));
  const Outcome scaled = RunPhoton("plan --devices 1 --memory 4GiB --scale-to 2" + Preset("photon-1.2b"));
  EXPECT_EQ(scaled.exit_code, 2);
  EXPECT_THAT(scaled.err, HasSubstr("and has 1.1 GB for tensors"));
}

TEST(CliTrain, TooLittleMemoryIsRefusedBeforeAnythingIsAllocated) {
  const Outcome outcome = RunPhoton("train --device cpu --set parallel.tp=1 --set parallel.pp=1" +
                                    Preset("photon-70b"));  // over 1 TB, and there is no data
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("photon train: rank 0 needs 1."));
  EXPECT_THAT(outcome.err, HasSubstr("TB of memory and has "));
}

TEST(CliPlan, BadInput) {
  const auto refusal = [](const std::string& arguments) {
    const Outcome outcome = RunPhoton("plan " + arguments + Preset("tiny"));
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    return outcome.err;
  };
  EXPECT_THAT(refusal("--devices 0"), HasSubstr("--devices: 0 is not an integer from 1 to 1048576"));
  EXPECT_THAT(refusal("--devices 8 --scale-to 4"), HasSubstr("--scale-to 4 is less than --devices 8"));
  EXPECT_THAT(refusal("--devices 1 --scale-to 4 --dry-run"), HasSubstr("excludes"));
  EXPECT_THAT(refusal("--devices 1 --scale-to 4 --schedule x.svg"), HasSubstr("excludes"));
  EXPECT_THAT(refusal("--devices 3 --scale-to 6"), HasSubstr("can't be shared evenly by 3"));
  EXPECT_THAT(refusal("--devices 1 --bandwidth -5"), HasSubstr("--bandwidth: -5 is not a number above 0"));
  EXPECT_THAT(refusal("--devices 1 --peak nan"), HasSubstr("--peak: nan is not a number above 0"));
  EXPECT_THAT(refusal("--devices 1 --device cpu --links 5"), HasSubstr("--device cpu is measured: leave out"));
  EXPECT_THAT(refusal("--devices 1 --device h20"), HasSubstr("did you mean \"h200\"?"));
  EXPECT_THAT(refusal("--devices 1 --memory many"),
              HasSubstr("--memory: many: not an amount of memory; use e.g. 141GiB"));
  EXPECT_THAT(refusal("--devices 1 --memory 1GiB"), HasSubstr("are needed for the device's libraries alone"));
  EXPECT_THAT(refusal("--devices 2 --layout ep=2"), HasSubstr("--layout: no \"ep=2\"; known: dp, pp, cp, tp"));
  EXPECT_THAT(refusal("--devices 2 --layout dp"), HasSubstr("is not AXIS=SIZE"));
  EXPECT_THAT(refusal("--devices 2 --layout tp="), HasSubstr("is not AXIS=SIZE"));
  EXPECT_THAT(refusal("--devices 2 --layout \"dp=2;tp=2\""), HasSubstr("is not AXIS=SIZE"));
  EXPECT_THAT(refusal("--devices 4 --layout tp=2,tp=4"), HasSubstr("--layout names tp twice"));
  EXPECT_THAT(refusal("--devices 3 --layout tp=3"), HasSubstr("No layout of 3 ranks fits; of 2: "));
  // More ranks than the model has parts to share: the next smaller number is not looked for one by one.
  EXPECT_THAT(refusal("--devices 1000003 --layout tp=3"), HasSubstr("No layout of 1000003 ranks fits; of "));
}

}  // namespace
}  // namespace photon
