// Pipelines over MPI: what all ranks together compute is what one computes alone.
#include "parallel/pipeline/cut.h"
#include "tests/distributed/world.h"
#include "tests/parallel/pipeline_shapes.h"
#include "tests/parallel/pipeline_stages.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

TEST(MpiPipeline, EveryFormAndOrderIsSerialExecution) {
  using pipeline::Form;
  using pipeline::Order;
  const pipeline::Chain chain = StatedChain();
  const TestContext context;
  for (const Form form : {Form::kPlain, Form::kFolded, Form::kEncoders}) {
    for (const Order order : {Order::kGpipe, Order::kOneFOneB, Order::kSplit}) {
      for (const int microbatches : {1, 7}) {
        const auto layout = pipeline::CutByCost(chain, form, World().size());
        ASSERT_TRUE(layout.ok()) << layout.status();
        const auto schedule = pipeline::MakeSchedule(*layout, {.order = order, .microbatches = microbatches});
        ASSERT_TRUE(schedule.ok()) << schedule.status();
        ChainStage stage(chain, *layout, microbatches, World().rank(), context);
        const auto spans = pipeline::RunSchedule(*layout, *schedule, FormsOf(*layout), World(), context, stage);
        ASSERT_TRUE(spans.ok()) << spans.status();
        std::vector<double> sums = stage.result().weight_gradients;
        sums.push_back(stage.result().targets);
        ASSERT_TRUE(World()
                        .AllReduce("results",
                                   Tensor::Wrap(sums.data(), {static_cast<int64_t>(sums.size())}, DType::kF64),
                                   Reduction::kSum)
                        .ok());
        ChainResult result = {sums, sums.back()};
        result.weight_gradients.pop_back();
        EXPECT_EQ(result, SerialResult(chain, microbatches)) << Name(form) << " " << Name(order);
      }
    }
  }
}

}  // namespace
}  // namespace photon::testing
