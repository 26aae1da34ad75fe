// The profile of a step: its rows add up to the step, its names are the model's, its files can be read.
#include "train/step_profile.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/time.h"
#include "tests/train/training_run.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

nlohmann::json ReadJson(const std::string& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
}

class StepProfileTest : public ::testing::Test {
 protected:
  // Five steps of a model large enough that a step is not all bookkeeping; three are looked at.
  void Run(bool recompute) {
    RunConfig config = TinyRun(folder_ / "run");
    config.mutable_model()->set_width(128);
    config.mutable_model()->set_ffn(256);
    config.mutable_training()->set_recompute(recompute);
    config = Resolved(config, 1);
    const std::unique_ptr<Communicator> self = SelfCommunicator();
    const Mesh mesh = *Mesh::Create(*self, config.parallel());
    Arena arena;
    const Context context(Device{}, CpuBackend(), arena, nullptr, profile_.profiler());
    Trainer trainer(config, mesh, context, arena);
    std::vector<int32_t> ids(64, 3);
    for (int i = 1; i <= 5; ++i) {
      profile_.BeginStep(arena);
      ASSERT_TRUE(trainer.Step({TokenBatch::FromIds(ids, 1, true), TokenBatch::FromIds(ids, 1, true)}).ok());
      EXPECT_EQ(profile_.EndStep(arena), i == 5);
    }
  }

  const TemporaryFolder folder_;
  StepProfile profile_{3};
};

TEST_F(StepProfileTest, RowsAddUpToTheStepAndAreNamedLikeModules) {
  Run(/*recompute=*/false);
  ASSERT_TRUE(profile_.Write(folder_ / "", 0).ok());
  const nlohmann::json json = ReadJson(folder_ / "profile.json");
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["steps"], 3);
  double sum = 0;
  std::set<std::string> names, backward;
  for (const auto& row : json["rows"]) {
    sum += row["forward_s"].get<double>() + row["backward_s"].get<double>();
    names.insert(row["scope"].get<std::string>());
    if (row["backward_s"] > 0) backward.insert(row["scope"].get<std::string>());
  }
  // Outside all scopes are closures that are freed and a clock that is read: a few percent of a step as small as this.
  const double step = json["step_s"];
  EXPECT_LE(sum, step * (1 + 1e-9));
  EXPECT_GE(sum, 0.8 * step);
  std::vector<std::string> modules = {"encoder_embedding", "level.2.chunker", "level.2.converter", "lm_head", "loss"};
  for (const char* stack : {"level.1.encoder", "level.2.encoder", "level.2.decoder", "level.1.decoder"}) {
    for (const char* part : {"attention_norm", "attention.qkv_proj", "attention", "attention.o_proj", "ffn_norm",
                             "ffn.gate_up_proj", "ffn.swiglu", "ffn.down_proj", "norm"}) {
      modules.push_back(std::string(stack) + "/" + part);
    }
  }
  EXPECT_THAT(names, IsSupersetOf(modules));
  EXPECT_THAT(backward, IsSupersetOf(modules));
  EXPECT_THAT(names, IsSupersetOf({"reduction", "optimizer", "gradient norm", "zero gradients", "loss counts"}));
  EXPECT_THAT(backward, ::testing::Not(::testing::Contains("optimizer")));
  EXPECT_EQ(json["arena_grown"], 0) << "a step after the first asked the system for memory";
  EXPECT_THAT(profile_.Table(), HasSubstr("level.2.encoder"));
}

TEST_F(StepProfileTest, TheTraceIsOfEventsInsideTheStep) {
  Run(/*recompute=*/true);
  profile_.AddReduction(Now(), Now());  // off again: not counted
  ASSERT_TRUE(profile_.Write(folder_ / "", 7).ok());
  EXPECT_FALSE(std::ifstream(folder_ / "profile.json").good()) << "rank 0's";
  const nlohmann::json json = ReadJson(folder_ / "trace.7.json");
  ASSERT_TRUE(json.is_object());
  std::vector<std::pair<double, double>> steps;
  int others = 0;
  for (const auto& event : json["traceEvents"]) {
    EXPECT_EQ(event["pid"], 7);
    if (event["ph"] == "X" && event["name"] == "step") steps.emplace_back(event["ts"], event["dur"]);
  }
  ASSERT_EQ(steps.size(), 3u);
  for (const auto& event : json["traceEvents"]) {
    if (event["ph"] != "X" || event["name"] == "step") continue;
    const double begin = event["ts"], end = begin + event["dur"].get<double>();
    const bool inside = std::any_of(steps.begin(), steps.end(), [&](const auto& step) {
      return step.first <= begin + 0.002 && end <= step.first + step.second + 0.002;  // printed to 0.001 us
    });
    EXPECT_TRUE(inside) << event;
    ++others;
  }
  EXPECT_GT(others, 3 * 50);
}

TEST_F(StepProfileTest, AFolderThatIsMissingIsAnError) {
  Run(false);
  EXPECT_FALSE(profile_.Write(folder_ / "nowhere", 0).ok());
}

TEST(StepProfileOff, LooksAtNothing) {
  StepProfile profile(0);
  const Arena arena;
  EXPECT_EQ(profile.profiler(), nullptr);
  for (int i = 0; i < 4; ++i) {
    profile.BeginStep(arena);
    EXPECT_FALSE(profile.EndStep(arena));
  }
}

}  // namespace
}  // namespace photon
