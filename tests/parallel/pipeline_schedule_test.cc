#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "parallel/pipeline/check.h"
#include "parallel/pipeline/cut.h"
#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/simulate.h"
#include "tests/parallel/pipeline_shapes.h"

namespace photon::pipeline {
namespace {

using photon::testing::RandomChain;
using photon::testing::StatedChain;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Form kForms[] = {Form::kPlain, Form::kFolded, Form::kEncoders};
constexpr Order kOrders[] = {Order::kGpipe, Order::kOneFOneB, Order::kSplit};

// body(layout, options, random) for many random chains, forms, orders, ranks, microbatches and networks.
template <typename Body>
void ForRandomShapes(int rounds, const Body& body) {
  std::mt19937 random(7);
  for (int round = 0; round < rounds; ++round) {
    const int ranks = 1 + static_cast<int>(random() % 5);
    const Chain chain = RandomChain(random, 2 * ranks + static_cast<int>(random() % 12));
    const auto layout = CutByCost(chain, kForms[random() % 3], ranks);
    if (!layout.ok()) continue;  // fewer encoders than ranks
    ScheduleOptions options = {.order = kOrders[random() % 3], .microbatches = 1 + static_cast<int>(random() % 10)};
    if (random() % 2 == 0) options.network = {.latency = 0.1, .bytes_per_unit = 50};
    body(*layout, options, random);
  }
}

double WorkOf(const Layout& layout, int microbatches) {
  double work = 0;
  for (const Segment& s : layout.segments()) work += s.forward + s.backward + s.weights;
  return work * microbatches;
}

TEST(PipelineSchedule, EveryOneCanBeRun) {
  int made = 0;
  ForRandomShapes(300, [&](const Layout& layout, const ScheduleOptions& options, std::mt19937&) {
    const auto schedule = MakeSchedule(layout, options);
    ASSERT_TRUE(schedule.ok()) << schedule.status();
    const auto peaks = CheckSchedule(layout, *schedule);
    ASSERT_TRUE(peaks.ok()) << peaks.status();
    const Timeline timeline = Simulate(layout, *schedule, options.network);
    EXPECT_NEAR(timeline.work, WorkOf(layout, options.microbatches), 1e-9 * timeline.work);
    EXPECT_LE(timeline.efficiency(), 1 + 1e-9);
    ++made;
  });
  EXPECT_GT(made, 200);
}

TEST(PipelineSchedule, KeepsTheMemoryItIsGiven) {
  int leaner = 0, refused = 0;
  ForRandomShapes(150, [&](const Layout& layout, ScheduleOptions options, std::mt19937&) {
    const auto peak = [&](const Schedule& schedule) {
      const auto peaks = CheckSchedule(layout, schedule);
      return *std::max_element(peaks->begin(), peaks->end());
    };
    const int64_t free = peak(*MakeSchedule(layout, options));
    options.memory_limit = free * 3 / 4;
    const auto schedule = MakeSchedule(layout, options);
    if (!schedule.ok()) {
      EXPECT_THAT(schedule.status().message(), HasSubstr("training.micro_batch smaller"));
      ++refused;
      return;
    }
    ++leaner;
    EXPECT_LE(peak(*schedule), options.memory_limit);
  });
  EXPECT_GT(leaner, 20);
  EXPECT_GT(refused, 0);
}

TEST(PipelineSchedule, IsTheSameEveryTime) {
  const auto layout = CutByCost(StatedChain(), Form::kFolded, 4);
  const ScheduleOptions options = {.microbatches = 6};
  const auto schedule = MakeSchedule(*layout, options);
  EXPECT_EQ(MakeSchedule(*layout, options)->ranks, schedule->ranks);
  EXPECT_EQ(Digest(*MakeSchedule(*layout, options)), Digest(*schedule));
  Schedule other = *schedule;
  std::swap(other.ranks[2].front(), other.ranks[2].back());
  EXPECT_NE(Digest(other), Digest(*schedule));
}

TEST(PipelineSchedule, EfficienciesOfTheStatedShape) {
  struct Row {
    Form form;
    Order order;
    double least[3];  // at 8, 16, 32 microbatches
  };
  const Row rows[] = {
      {Form::kPlain, Order::kOneFOneB, {0.75, 0.86, 0.90}},
      {Form::kFolded, Order::kOneFOneB, {0.74, 0.85, 0.92}},
      {Form::kFolded, Order::kSplit, {0.85, 0.92, 0.96}},
      {Form::kEncoders, Order::kOneFOneB, {0.96, 0.97, 0.98}},
  };
  for (const Row& row : rows) {
    const auto layout = CutByCost(StatedChain(), row.form, 4);
    for (int i = 0; i < 3; ++i) {
      const int microbatches = 8 << i;
      const auto schedule = MakeSchedule(*layout, {.order = row.order, .microbatches = microbatches});
      ASSERT_TRUE(schedule.ok()) << schedule.status();
      const auto peaks = CheckSchedule(*layout, *schedule);
      ASSERT_TRUE(peaks.ok()) << peaks.status();
      const double efficiency = Simulate(*layout, *schedule).efficiency();
      EXPECT_GE(efficiency, row.least[i]) << Name(row.form) << " " << Name(row.order) << " " << microbatches;
      std::printf("%-9s%-12s%3d microbatches: %.1f %%, activations of %.1f microbatches\n", Name(row.form),
                  Name(row.order), microbatches, 100 * efficiency,
                  static_cast<double>(*std::max_element(peaks->begin(), peaks->end())) / (8.5 * (1 << 20)));
    }
  }
}

// Within the memory of nine microbatches on a rank, whatever their number.
TEST(PipelineSchedule, SplitNeedsNoMoreMemoryForMoreMicrobatches) {
  const auto layout = CutByCost(StatedChain(), Form::kFolded, 4);
  const double least[] = {0.85, 0.92, 0.95};
  for (int i = 0; i < 3; ++i) {
    const auto schedule = MakeSchedule(*layout, {.microbatches = 8 << i, .memory_limit = 9 * (17 << 19)});
    ASSERT_TRUE(schedule.ok()) << schedule.status();
    EXPECT_GE(Simulate(*layout, *schedule).efficiency(), least[i]);
  }
}

TEST(PipelineSchedule, GivesUpTimeForMemoryWithinTheSlack) {
  const auto layout = CutByCost(StatedChain(), Form::kFolded, 4);
  const auto fast = MakeSchedule(*layout, {.microbatches = 32});
  const auto lean = MakeSchedule(*layout, {.microbatches = 32, .slack = 0.02});
  const auto fast_peaks = *CheckSchedule(*layout, *fast), lean_peaks = *CheckSchedule(*layout, *lean);
  EXPECT_LE(Simulate(*layout, *lean).time, Simulate(*layout, *fast).time * 1.02 * (1 + 1e-6));
  EXPECT_LT(2 * *std::max_element(lean_peaks.begin(), lean_peaks.end()),
            *std::max_element(fast_peaks.begin(), fast_peaks.end()));
}

// Classic 1F1B, on equal segments: rank r has P - r microbatches in flight at most, and the bubble is (P - 1) / M of
// the work.
TEST(PipelineSchedule, PlainEqualSegmentsGive1F1B) {
  Chain chain;
  for (int i = 0; i < 4; ++i) {
    chain.items.push_back(
        {.name = "layer", .group = "G", .forward = 1, .backward = 1, .weights = 1, .activation_bytes = 1});
  }
  const auto layout = CutByCost(chain, Form::kPlain, 4);
  const auto schedule = MakeSchedule(*layout, {.order = Order::kOneFOneB, .microbatches = 12});
  ASSERT_TRUE(schedule.ok());
  EXPECT_DOUBLE_EQ(Simulate(*layout, *schedule).time, 3.0 * (12 + 3));
  const auto peaks = CheckSchedule(*layout, *schedule);
  for (int rank = 0; rank < 4; ++rank) EXPECT_LE((*peaks)[rank], 4 - rank);
}

TEST(PipelineSchedule, OrdersAreNeverSlowerThanThoseBefore) {
  ForRandomShapes(60, [&](const Layout& layout, ScheduleOptions options, std::mt19937&) {
    options.network = {};
    double before = 1e30;
    for (const Order order : kOrders) {
      options.order = order;
      const double time = Simulate(layout, *MakeSchedule(layout, options)).time;
      EXPECT_LE(time, before * (1 + 1e-9));
      before = time;
    }
  });
}

TEST(PipelineSchedule, GpipeRunsAllForwardPassesFirst) {
  const auto layout = CutByCost(StatedChain(), Form::kFolded, 3);
  const auto schedule = MakeSchedule(*layout, {.order = Order::kGpipe, .microbatches = 5});
  for (const auto& list : schedule->ranks) {
    bool backward = false;
    for (const Instruction& i : list) {
      backward |= i.task == Task::kBackward;
      EXPECT_FALSE(backward && i.task == Task::kForward);
    }
  }
}

// Every microbatch of an edge between two ranks, in both directions, and each once.
TEST(PipelineSchedule, SendsWhatTheLayoutSays) {
  ForRandomShapes(60, [&](const Layout& layout, const ScheduleOptions& options, std::mt19937&) {
    const auto schedule = MakeSchedule(layout, options);
    int64_t sent = 0, expected = 0;
    for (const auto& list : schedule->ranks) {
      for (const Instruction& i : list) sent += i.task == Task::kSend ? layout.edges()[i.edge].bytes : 0;
    }
    for (int m = 0; m < options.microbatches; ++m) {
      for (int e = 0; e < static_cast<int>(layout.edges().size()); ++e) {
        expected += layout.edges()[e].bytes * static_cast<int64_t>(layout.OtherReaders(e, m, false).size() +
                                                                   layout.OtherReaders(e, m, true).size());
      }
    }
    EXPECT_EQ(sent, expected);
  });
}

// Any one instruction left out, doubled, moved to another rank, or changed in one field.
TEST(PipelineCheck, RefusesMutatedSchedules) {
  int mutated = 0;
  ForRandomShapes(150, [&](const Layout& layout, const ScheduleOptions& options, std::mt19937& random) {
    const auto schedule = MakeSchedule(layout, options);
    for (int kind = 0; kind < 6; ++kind) {
      Schedule wrong = *schedule;
      const int rank = static_cast<int>(random() % wrong.ranks.size());
      std::vector<Instruction>& list = wrong.ranks[rank];
      if (list.empty()) continue;
      const auto at = list.begin() + static_cast<int64_t>(random() % list.size());
      switch (kind) {
        case 0:
          list.erase(at);
          break;
        case 1:
          list.insert(at, *at);
          break;
        case 2:
          if (layout.ranks() == 1) continue;
          wrong.ranks[(rank + 1) % layout.ranks()].push_back(*at);
          list.erase(at);
          break;
        case 3:
          at->microbatch = options.microbatches;
          break;
        case 4:
          // Another task: what it was is missing.
          at->task = at->computes() ? static_cast<Task>((static_cast<int>(at->task) + 1) % 3)
                                    : (at->task == Task::kSend ? Task::kReceive : Task::kSend);
          break;
        default:
          if (at->computes()) {
            at->segment = layout.count();
          } else {
            at->peer = rank;
          }
      }
      ++mutated;
      const auto peaks = CheckSchedule(layout, wrong);
      EXPECT_EQ(peaks.status().code(), absl::StatusCode::kInternal) << "mutation " << kind;
    }
  });
  EXPECT_GT(mutated, 500);
}

// Neighbours of which the second needs the first, the other way round: a hang, or a value that isn't there.
TEST(PipelineCheck, RefusesWhatGoesAgainstItsNeeds) {
  int swapped = 0;
  ForRandomShapes(150, [&](const Layout& layout, const ScheduleOptions& options, std::mt19937&) {
    const auto schedule = MakeSchedule(layout, options);
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      const auto& list = schedule->ranks[rank];
      for (size_t n = 0; n + 1 < list.size(); ++n) {
        const Instruction &a = list[n], &b = list[n + 1];
        const bool same = a.microbatch == b.microbatch;
        const bool input = a.task == Task::kReceive && b.computes() && same;  // written right before its reader
        const bool output = a.computes() && b.task == Task::kSend && same;
        const bool own = a.task == Task::kForward && b.task == Task::kBackward && same && a.segment == b.segment;
        if (!input && !output && !own) continue;
        Schedule wrong = *schedule;
        std::swap(wrong.ranks[rank][n], wrong.ranks[rank][n + 1]);
        EXPECT_EQ(CheckSchedule(layout, wrong).status().code(), absl::StatusCode::kInternal)
            << Describe(layout, a) << " and " << Describe(layout, b);
        ++swapped;
      }
    }
  });
  EXPECT_GT(swapped, 1000);
}

TEST(PipelineCheck, NamesWhoWaitsForEver) {
  const auto layout = Layout::Create(StatedChain(), Form::kPlain, 2, {0, 24, 48});
  auto schedule = *MakeSchedule(*layout, {.order = Order::kGpipe, .microbatches = 1});
  // Rank 0 waits for the gradient before it sends the activation.
  auto& list = schedule.ranks[0];
  const auto wait =
      std::find_if(list.begin(), list.end(), [](const Instruction& i) { return i.task == Task::kReceive; });
  std::rotate(list.begin(), wait, wait + 1);
  EXPECT_THAT(CheckSchedule(*layout, schedule).status().message(),
              AllOf(HasSubstr("pipeline rank 0, instruction 0"), HasSubstr("receive gradient of stream after"),
                    HasSubstr("from rank 1"), HasSubstr("waits for ever")));
  // Messages that come in another order than they are taken.
  schedule = *MakeSchedule(*layout, {.order = Order::kGpipe, .microbatches = 2});
  auto& sender = schedule.ranks[0];
  const auto sends =
      std::stable_partition(sender.begin(), sender.begin() + 6, [](const Instruction& i) { return i.computes(); });
  std::reverse(sends, sender.begin() + 6);  // two forward passes, each with a stream and a skip to send
  EXPECT_THAT(CheckSchedule(*layout, schedule).status().message(),
              HasSubstr("the message that comes is of microbatch 1"));
}

TEST(PipelineCheck, CountsMemory) {
  // Two segments of 10 and 1 bytes, a stream of 100.
  Chain chain;
  chain.items.push_back({.name = "a", .group = "A", .forward = 1, .activation_bytes = 10, .stream_bytes = 100});
  chain.items.push_back({.name = "b", .group = "B", .forward = 1, .activation_bytes = 1});
  chain.encoders = 1;
  const auto layout = Layout::Create(chain, Form::kPlain, 2, {0, 1, 2});
  const auto schedule = *MakeSchedule(*layout, {.order = Order::kGpipe, .microbatches = 3});
  // Rank 0 has three activations at the end of its forward passes; rank 1 two, and the third with its input.
  EXPECT_EQ(*CheckSchedule(*layout, schedule), (std::vector<int64_t>{30, 103}));
  EXPECT_THAT(CheckSchedule(*layout, schedule, 102).status().message(),
              AllOf(HasSubstr("rank 1"), HasSubstr("reach 103 bytes, the limit is 102")));
}

TEST(PipelineSimulate, CountsTheNetwork) {
  Chain chain;
  chain.items.push_back({.name = "a", .group = "A", .forward = 1, .backward = 1, .stream_bytes = 10});
  chain.items.push_back({.name = "b", .group = "B", .forward = 1, .backward = 1});
  chain.encoders = 1;
  const auto layout = Layout::Create(chain, Form::kPlain, 2, {0, 1, 2});
  const auto schedule = *MakeSchedule(*layout, {.order = Order::kGpipe, .microbatches = 1});
  // F, message, F, B, message, B.
  EXPECT_DOUBLE_EQ(Simulate(*layout, schedule).time, 4);
  EXPECT_DOUBLE_EQ(Simulate(*layout, schedule, {.latency = 0.5, .bytes_per_unit = 5}).time, 4 + 2 * (0.5 + 2));
  const Timeline timeline = Simulate(*layout, schedule, {.latency = 0.5});
  ASSERT_EQ(timeline.ranks[1].size(), 3u);  // a wait, then F and B
  EXPECT_EQ(timeline.ranks[1][0].instruction.task, Task::kReceive);
  EXPECT_DOUBLE_EQ(timeline.ranks[1][0].end, 1.5);
  // Two messages that share a link go one after the other: the second microbatch's arrives at 1 + 2 * 3, not 2 + 3.
  const auto two = *MakeSchedule(*layout, {.order = Order::kGpipe, .microbatches = 2});
  const Timeline shared = Simulate(*layout, two, {.latency = 0, .bytes_per_unit = 10.0 / 3});
  double last_forward = 0;
  for (const Span& span : shared.ranks[1]) {
    if (span.instruction.task == Task::kForward) last_forward = span.begin;
  }
  EXPECT_DOUBLE_EQ(last_forward, 7);
}

TEST(PipelineSchedule, RefusesNoMicrobatches) {
  const auto layout = CutByCost(StatedChain(), Form::kFolded, 2);
  EXPECT_EQ(MakeSchedule(*layout, {.microbatches = 0}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace photon::pipeline
