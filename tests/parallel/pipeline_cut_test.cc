#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "parallel/pipeline/cut.h"
#include "tests/parallel/pipeline_shapes.h"

namespace photon::pipeline {
namespace {

using photon::testing::RandomChain;
using photon::testing::StatedChain;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Loads {
  double cost = 0, memory = 0;  // of the most loaded rank
};

Loads LoadsOf(const Layout& layout, int in_flight) {
  Loads most;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    Loads own;
    for (const int s : layout.SegmentsOf(rank)) {
      if (layout.form() == Form::kEncoders && s == layout.ranks()) continue;
      const Segment& segment = layout.segments()[s];
      own.cost += segment.forward + segment.backward + segment.weights;
      own.memory += static_cast<double>(segment.parameter_bytes + in_flight * segment.activation_bytes);
    }
    most = {std::max(most.cost, own.cost), std::max(most.memory, own.memory)};
  }
  return most;
}

// The best of all cuts, by trying them: least cost, then least memory.
Loads BestOfAll(const Chain& chain, Form form, int ranks, double memory_limit) {
  const int items = form == Form::kEncoders ? chain.encoders : static_cast<int>(chain.items.size());
  const int pieces = form == Form::kFolded ? 2 * ranks - 1 : ranks;
  std::vector<int> borders = {0};
  Loads best = {1e30, 1e30};
  const std::function<void()> extend = [&] {
    if (static_cast<int>(borders.size()) == pieces) {
      std::vector<int> all = borders;
      all.push_back(items);
      if (form == Form::kEncoders) all.push_back(static_cast<int>(chain.items.size()));
      const Loads loads = LoadsOf(*Layout::Create(chain, form, ranks, all), ranks);
      if (loads.memory > memory_limit) return;
      const double tie = 1e-7 * loads.cost;
      if (loads.cost < best.cost - tie || (loads.cost < best.cost + tie && loads.memory < best.memory)) best = loads;
      return;
    }
    for (int next = borders.back() + 1; next < items; ++next) {
      borders.push_back(next);
      extend();
      borders.pop_back();
    }
  };
  extend();
  return best;
}

TEST(PipelineCut, IsTheBestOfAll) {
  std::mt19937 random(1);
  int tight = 0;
  for (int round = 0; round < 200; ++round) {
    const Chain chain = RandomChain(random, 4 + static_cast<int>(random() % 9));
    for (const Form form : {Form::kPlain, Form::kFolded, Form::kEncoders}) {
      for (int ranks = 1; ranks <= 4; ++ranks) {
        const auto layout = CutByCost(chain, form, ranks);
        const Loads best = BestOfAll(chain, form, ranks, 1e30);
        if (best.cost == 1e30) {
          EXPECT_EQ(layout.status().code(), absl::StatusCode::kInvalidArgument);
          continue;
        }
        ASSERT_TRUE(layout.ok()) << layout.status();
        const Loads loads = LoadsOf(*layout, ranks);
        EXPECT_NEAR(loads.cost, best.cost, 2e-7 * best.cost) << Name(form) << " on " << ranks;
        EXPECT_NEAR(loads.memory, best.memory, 2e-7 * best.memory) << Name(form) << " on " << ranks;

        // Within less memory than that.
        const double limit = 0.9 * loads.memory;
        const Loads leaner = BestOfAll(chain, form, ranks, limit);
        const auto lean = CutByCost(chain, form, ranks, {.memory_limit = limit});
        ASSERT_EQ(lean.ok(), leaner.cost < 1e30) << lean.status();
        if (!lean.ok()) continue;
        ++tight;
        EXPECT_LE(LoadsOf(*lean, ranks).memory, limit * (1 + 1e-9));
        EXPECT_NEAR(LoadsOf(*lean, ranks).cost, leaner.cost, 2e-7 * leaner.cost);
      }
    }
  }
  EXPECT_GT(tight, 50);  // not all were refused
}

TEST(PipelineCut, GivesUpSpeedForMemoryWithinTheSlack) {
  const Chain chain = StatedChain();
  const Loads tight = LoadsOf(*CutByCost(chain, Form::kFolded, 4), 4);
  const Loads loose = LoadsOf(*CutByCost(chain, Form::kFolded, 4, {.slack = 0.1}), 4);
  EXPECT_LT(loose.memory, tight.memory);
  EXPECT_LE(loose.cost, 1.1 * tight.cost * (1 + 1e-6));
}

TEST(PipelineCut, BalancesTheStatedShapeInsideLevels) {
  const auto layout = CutByCost(StatedChain(), Form::kFolded, 4);
  ASSERT_TRUE(layout.ok());
  // 48 layers of 101.25 units: a rank's even share is 25.3, the nearest that layers allow 25.5.
  EXPECT_DOUBLE_EQ(LoadsOf(*layout, 4).cost, 25.5);
  EXPECT_THAT(Describe(*layout),
              AllOf(HasSubstr("pipeline FOLDED, 4 stage(s)"), HasSubstr("balance 99.3 %"), HasSubstr("| D1 9-12")));
}

TEST(PipelineCut, HeadIsAnItemLikeOthers) {
  Chain chain = StatedChain();
  chain.items.push_back({.name = "head", .group = "head", .forward = 8, .backward = 8, .weights = 8});
  const auto layout = CutByCost(chain, Form::kFolded, 4);
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->segments().back().label, "D1 12, head");  // rank 0 has little else
}

TEST(PipelineCut, RefusesWithTheRemedy) {
  const Chain chain = StatedChain();
  EXPECT_THAT(CutByCost(chain, Form::kFolded, 30).status().message(),
              AllOf(HasSubstr("48 layers and head can't be cut into 59"), HasSubstr("parallel.pp to at most 24")));
  EXPECT_THAT(CutByCost(chain, Form::kEncoders, 30).status().message(),
              AllOf(HasSubstr("24 encoder layers"), HasSubstr("at most 24")));
  EXPECT_EQ(CutByCost(chain, Form::kPlain, 0).status().code(), absl::StatusCode::kInvalidArgument);
  Chain flat = chain;
  flat.encoders = 0;
  EXPECT_THAT(CutByCost(flat, Form::kEncoders, 2).status().message(), HasSubstr("take pipeline.form FOLDED"));
  EXPECT_THAT(CutByCost(chain, Form::kPlain, 2, {.memory_limit = 3 << 20}).status().message(),
              AllOf(HasSubstr("no cut of the model keeps 3.0 MiB"), HasSubstr("raise parallel.pp")));
}

TEST(PipelineLayout, FoldedKeepsSkipsOnTheirRank) {
  // X^1, at the end of E1, is read by E2 (the stream), at the start of D2 and at its end.
  const auto layout = Layout::Create(StatedChain(), Form::kFolded, 3, {0, 10, 13, 25, 40, 48});
  ASSERT_TRUE(layout.ok()) << layout.status();
  ASSERT_EQ(layout->edges().size(), 5u);
  const Edge& x1 = layout->edges()[1];
  EXPECT_EQ(x1.item, 11);
  EXPECT_EQ(x1.from, 1);
  ASSERT_EQ(x1.readers.size(), 2u);  // start and target of decoder 2
  EXPECT_EQ(x1.readers[0].segment, 2);
  EXPECT_EQ(x1.readers[1].segment, 3);
  EXPECT_FALSE(x1.readers[1].differentiated);
  EXPECT_THAT(layout->OtherReaders(1, 0, false), ElementsAre(2));  // segment 3 is on rank 1, as segment 1 is
  EXPECT_THAT(layout->incoming(3), ElementsAre(1, 3));
  EXPECT_THAT(layout->outgoing(1), ElementsAre(1, 2));
  EXPECT_EQ(layout->RankOf(3, 7), 1);
  EXPECT_EQ(layout->RankOf(4, 7), 0);
}

TEST(PipelineLayout, OneMessageWhereTheStreamIsTheSkip) {
  // Cut right after E1: the stream to the next segment is X^1 itself.
  const auto layout = Layout::Create(StatedChain(), Form::kPlain, 3, {0, 12, 30, 48});
  ASSERT_TRUE(layout.ok());
  ASSERT_EQ(layout->edges().size(), 2u);
  EXPECT_THAT(layout->OtherReaders(0, 0, false), ElementsAre(1, 2));  // segment 2 reads the target
  EXPECT_THAT(layout->OtherReaders(0, 0, true), ElementsAre(1));      // and gives no gradient
}

TEST(PipelineLayout, RefusesBordersThatDoNotFit) {
  const Chain chain = StatedChain();
  for (const std::vector<int>& borders : {std::vector<int>{0, 24}, {0, 24, 24, 48}, {0, 12, 24, 47}, {1, 12, 24, 48}}) {
    EXPECT_EQ(Layout::Create(chain, Form::kFolded, 2, borders).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_THAT(Layout::Create(chain, Form::kEncoders, 2, {0, 12, 25, 48}).status().message(),
              HasSubstr("the decoders begin at item 24"));
  Chain backwards = chain;
  backwards.skips = {{20, {{10}}}};
  EXPECT_THAT(Layout::Create(backwards, Form::kPlain, 1, {0, 48}).status().message(), HasSubstr("can't read"));
}

}  // namespace
}  // namespace photon::pipeline
