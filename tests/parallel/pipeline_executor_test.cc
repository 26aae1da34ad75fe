#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/check.h"
#include "parallel/pipeline/cut.h"
#include "parallel/pipeline/executor.h"
#include "tests/parallel/pipeline_shapes.h"
#include "tests/parallel/pipeline_stages.h"
#include "tests/parallel/threads.h"
#include "tests/support/tensors.h"

namespace photon::pipeline {
namespace {

using photon::testing::ChainResult;
using photon::testing::ChainStage;
using photon::testing::FormsOf;
using photon::testing::OnThreads;
using photon::testing::RandomChain;
using photon::testing::SerialResult;
using photon::testing::TestContext;
using ::testing::AllOf;
using ::testing::HasSubstr;

// The results of all ranks, added up.
ChainResult RunOnThreads(const Chain& chain, const Layout& layout, const Schedule& schedule) {
  absl::Mutex mutex;
  ChainResult sum = {std::vector<double>(chain.items.size(), 0)};
  OnThreads(layout.ranks(), [&](Communicator& comm) {
    const TestContext context;
    ChainStage stage(chain, layout, schedule.microbatches, comm.rank(), context);
    const auto spans = RunSchedule(layout, schedule, FormsOf(layout), comm, context, stage);
    ASSERT_TRUE(spans.ok()) << spans.status();
    double before = 0;
    for (const Span& span : *spans) {
      EXPECT_LE(before, span.begin);
      EXPECT_LE(span.begin, span.end);
      before = span.end;
    }
    absl::MutexLock lock(&mutex);
    for (size_t i = 0; i < chain.items.size(); ++i) sum.weight_gradients[i] += stage.result().weight_gradients[i];
    sum.targets += stage.result().targets;
  });
  return sum;
}

TEST(PipelineExecutor, EveryFormAndOrderIsSerialExecution) {
  std::mt19937 random(3);
  int runs = 0;
  for (const Form form : {Form::kPlain, Form::kFolded, Form::kEncoders}) {
    for (const Order order : {Order::kGpipe, Order::kOneFOneB, Order::kSplit}) {
      for (const int ranks : {1, 2, 3, 4}) {
        for (const int microbatches : {1, 2, 3, 5, 8}) {
          const Chain chain = RandomChain(random, 8 + static_cast<int>(random() % 4));
          const auto layout = CutByCost(chain, form, ranks);
          if (!layout.ok()) continue;  // fewer encoders than ranks
          const auto schedule = MakeSchedule(*layout, {.order = order, .microbatches = microbatches});
          ASSERT_TRUE(schedule.ok()) << schedule.status();
          const ChainResult result = RunOnThreads(chain, *layout, *schedule),
                            serial = SerialResult(chain, microbatches);
          EXPECT_EQ(result.weight_gradients, serial.weight_gradients)
              << Name(form) << " " << Name(order) << " " << ranks << " ranks, " << microbatches << " microbatches";
          EXPECT_EQ(result.targets, serial.targets);
          ++runs;
        }
      }
    }
  }
  EXPECT_GT(runs, 150);
}

TEST(PipelineExecutor, SendsWhatTheScheduleSays) {
  const Chain chain = photon::testing::StatedChain();
  const auto layout = CutByCost(chain, Form::kFolded, 3);
  const auto schedule = MakeSchedule(*layout, {.microbatches = 4});
  OnThreads(3, [&](Communicator& comm) {
    const TestContext context;
    ChainStage stage(chain, *layout, 4, comm.rank(), context);
    int64_t expected = 0;
    for (const Instruction& i : schedule->ranks[comm.rank()]) {
      expected += i.task == Task::kSend ? 8 * photon::testing::kElements + 2 * 4 : 0;
    }
    ASSERT_TRUE(RunSchedule(*layout, *schedule, FormsOf(*layout), comm, context, stage).ok());
    EXPECT_EQ(comm.bytes_sent(), expected);
  });
}

TEST(PipelineExecutor, ErrorsNameRankInstructionAndMicrobatch) {
  const Chain chain = photon::testing::StatedChain();
  const auto layout = CutByCost(chain, Form::kPlain, 2);
  const auto schedule = MakeSchedule(*layout, {.order = Order::kGpipe, .microbatches = 2});
  // Rank 1 expects streams of another size than rank 0 sends: its first receive fails.
  OnThreads(2, [&](Communicator& comm) {
    if (comm.rank() == 0) {
      const std::vector<float> values(5);
      const Tensor tensor = Tensor::Wrap(const_cast<float*>(values.data()), {5}, DType::kF32);
      EXPECT_TRUE(comm.Post("stream", tensor, 1, 2 * layout->incoming(1)[0]).ok());
      return;
    }
    const TestContext context;
    ChainStage stage(chain, *layout, 2, 1, context);
    const absl::Status status = RunSchedule(*layout, *schedule, FormsOf(*layout), comm, context, stage).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(status.message(), AllOf(HasSubstr("pipeline rank 1 of 2, instruction 0, receive stream after"),
                                        HasSubstr("of microbatch 0 from rank 0"), HasSubstr("20 bytes")));
  });
}

TEST(PipelineExecutor, RefusesWhatDoesNotFit) {
  const Chain chain = photon::testing::StatedChain();
  const auto layout = CutByCost(chain, Form::kPlain, 2);
  const auto schedule = MakeSchedule(*layout, {.microbatches = 1});
  OnThreads(2, [&](Communicator& comm) {
    const TestContext context;
    ChainStage stage(chain, *layout, 1, comm.rank(), context);
    EXPECT_THAT(RunSchedule(*layout, *schedule, {}, comm, context, stage).status().message(),
                HasSubstr("and forms of 0"));
    if (comm.rank() == 1) return;
    EdgeForms other = FormsOf(*layout);
    for (auto& edge : other) edge[0].dtype = DType::kF32;
    EXPECT_THAT(RunSchedule(*layout, *schedule, other, comm, context, stage).status().message(),
                AllOf(HasSubstr("F0 of microbatch 0: the stage gave f64[3, 1]"), HasSubstr("not f32[3]")));
  });
  const std::unique_ptr<Communicator> self = SelfCommunicator();
  const TestContext context;
  ChainStage stage(chain, *layout, 1, 0, context);
  EXPECT_THAT(RunSchedule(*layout, *schedule, FormsOf(*layout), *self, context, stage).status().message(),
              HasSubstr("pipeline of 2 ranks"));
}

}  // namespace
}  // namespace photon::pipeline
