// Which layouts are recommended, and what predictions of messages and of growth rest on.
#include "plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/config.h"
#include "configs/validate_layout.h"
#include "plan/link_time.h"
#include "plan/report.h"
#include "tests/plan/small_run.h"

namespace photon {
namespace {

using ::testing::HasSubstr;

RunConfig Small() { return testing::SmallRun(); }

Machine With(double memory) {
  dry::DeviceFigures figures = *dry::FiguresOf("h200");
  figures.memory = memory;
  Machine machine = Machine::Of(figures);
  machine.reserved = 0;
  return machine;
}

TEST(MakePlan, FittingLayoutsComeFastestFirst) {
  const Machine machine = With(1e9);
  const Plan plan = *MakePlan(Small(), machine, {.devices = 4, .dry_runs = 6});
  ASSERT_FALSE(plan.fitting.empty());
  EXPECT_GT(plan.considered, 20);
  for (const Prediction& p : plan.fitting) {
    EXPECT_EQ(p.sizes.ranks(), 4);
    EXPECT_LE(p.largest().memory.peak(), 1e9);
    EXPECT_GE(p.run.step_s, plan.fitting.front().run.step_s);
    EXPECT_GT(p.mfu, 0);
    EXPECT_LT(p.mfu, 1);
  }
}

// What is recommended for GPUs, GPUs train: reductions beside the computation are for data-parallel ranks alone.
TEST(MakePlan, TrainTakesWhatIsRecommended) {
  const Plan plan = *MakePlan(Small(), With(1e9), {.devices = 4, .dry_runs = 30});
  int overlapped = 0;
  for (const Prediction& p : plan.fitting) {
    EXPECT_TRUE(CheckOverlapOnGpus(p.config.parallel(), 4).ok()) << p.sizes.ToString();
    overlapped += p.config.parallel().overlap_reduction();
  }
  EXPECT_GT(overlapped, 0);
  RunConfig config = Small();
  config.mutable_parallel()->set_tp(2);
  config.mutable_parallel()->set_overlap_reduction(true);
  EXPECT_THAT(std::string(Predict(config, 4, With(1e9)).status().message()), HasSubstr("set it to false"));
}

// With little memory the plan shares out more, or uses smaller microbatches; with too little it says so.
TEST(MakePlan, LessMemoryMeansAnotherLayout) {
  const int64_t ample =
      MakePlan(Small(), With(1e9), {.devices = 4, .dry_runs = 4})->fitting.front().largest().memory.peak();
  const Plan tight = *MakePlan(Small(), With(0.5 * static_cast<double>(ample)), {.devices = 4, .dry_runs = 8});
  ASSERT_FALSE(tight.fitting.empty());
  EXPECT_LE(tight.fitting.front().largest().memory.peak(), ample / 2);
  const Machine tiny = With(1e6);
  const Plan none = *MakePlan(Small(), tiny, {.devices = 4, .dry_runs = 4});
  EXPECT_TRUE(none.fitting.empty());
  EXPECT_THAT(Describe(none, tiny, 4), HasSubstr("Nothing fits 4 x h200"));
}

TEST(WeakScaling, StepsStayAsLongButForMessages) {
  Machine machine = With(1e12);
  machine.figures.link_latency = machine.figures.network_latency = 0;
  machine.figures.link_bandwidth = machine.figures.network_bandwidth = 1e30;
  const std::vector<Scaling> free = *WeakScaling(Small(), machine, 1, 8);
  ASSERT_EQ(free.size(), 4u);
  for (const Scaling& point : free) EXPECT_NEAR(point.efficiency, 1, 1e-9) << point.devices;
  machine.figures.link_bandwidth = machine.figures.network_bandwidth = 1e9;
  const std::vector<Scaling> slow = *WeakScaling(Small(), machine, 1, 8);
  EXPECT_LT(slow.back().efficiency, 0.9);
  EXPECT_EQ(slow.back().devices, 8);
}

// Reductions beside the last microbatch's backward pass: of two thirds of its time no more is hidden than that.
TEST(Predict, OverlapHidesWhatTheLastBackwardPassLastsAtMost) {
  Machine machine = With(1e12);
  machine.figures.link_bandwidth = 5e8;  // so slow that reductions take longer than anything else
  machine.figures.link_latency = 0;
  RunConfig config = Small();
  config.mutable_training()->set_micro_batch_sequences(4);
  const Prediction apart = *Predict(config, 2, machine);
  config.mutable_parallel()->set_overlap_reduction(true);
  const Prediction beside = *Predict(config, 2, machine);
  const double computing = apart.run.ranks[0].computing;
  EXPECT_NEAR(apart.run.step_s - beside.run.step_s, computing * 2 / 3 / 4, 0.02 * computing);
}

TEST(LinkTime, TakesTheSlowestLinkOfTheGroup) {
  dry::DeviceFigures figures;
  figures.devices_per_node = 4;
  figures.link_bandwidth = 100;
  figures.network_bandwidth = 10;
  figures.bandwidth_share = 1;
  figures.link_latency = 1;
  figures.network_latency = 3;
  const dry::CallTime seconds = LinkTime(figures);
  const dry::TracedCall gather = {.kind = dry::CallKind::kAllGather, .bytes = 400, .sent = 300};
  EXPECT_DOUBLE_EQ(seconds(gather, {0, 1, 2, 3}), 2 * 1 + 3.0);
  EXPECT_DOUBLE_EQ(seconds(gather, {2, 3, 4, 5}), 2 * 3 + 30.0);
  EXPECT_DOUBLE_EQ(seconds(gather, {0, 4}), 1 * 3 + 30.0);
  const dry::TracedCall sum = {.kind = dry::CallKind::kAllReduce, .bytes = 400, .sent = 600};
  EXPECT_DOUBLE_EQ(seconds(sum, {0, 1, 2, 3}), 4 * 1 + 6.0);
  const dry::TracedCall post = {.kind = dry::CallKind::kPost, .bytes = 200, .sent = 200};
  EXPECT_DOUBLE_EQ(seconds(post, {3, 4}), 3 + 20.0);
  // The root sends to all; the last to come may be another, which sends nothing.
  const dry::TracedCall broadcast = {.kind = dry::CallKind::kBroadcast, .bytes = 200, .sent = 0};
  EXPECT_DOUBLE_EQ(seconds(broadcast, {0, 1}), 1 + 2.0);
}

TEST(Report, JsonHoldsWhatTheTextSays) {
  const Machine machine = With(1e9);
  const Prediction p = *Predict(Small(), 2, machine);
  EXPECT_THAT(Describe(p, machine), HasSubstr("dp 2, pp 1, cp 1, tp 1"));
  const std::string json = ToJson(p, machine);
  EXPECT_THAT(json, HasSubstr(absl::StrCat("\"memory\": ", p.largest().memory.peak())));
  EXPECT_THAT(json, HasSubstr("\"fits\": true"));
}

}  // namespace
}  // namespace photon
