#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/cut.h"
#include "parallel/pipeline/draw.h"
#include "tests/parallel/pipeline_shapes.h"

namespace photon::pipeline {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

// Up and down on two ranks and the turn, each task one unit.
Layout SmallLayout() {
  Chain chain;
  for (const char* name : {"E & 1", "turn", "D1"}) {
    chain.items.push_back({.name = name, .group = name, .forward = 1, .backward = 1, .weights = 1});
  }
  chain.encoders = 1;
  return *CutByCost(chain, Form::kFolded, 2);
}

TEST(PipelineDraw, TextShowsWhoDoesWhatWhen) {
  const Layout layout = SmallLayout();
  const auto schedule = MakeSchedule(layout, {.order = Order::kGpipe, .microbatches = 1});
  // F0 | F1 | F2 BB2 | BB1 | BB0
  EXPECT_EQ(DrawText(layout, Simulate(layout, *schedule), 9),
            "  0 f.0BB..bb\n"
            "  1 .0...BB..\n"
            "FOLDED, 2 ranks, 1 microbatches: 9, efficiency 50.0 %\n");
}

TEST(PipelineDraw, SvgHasABoxForAllThatIsComputed) {
  const Layout layout = SmallLayout();
  const int microbatches = 4;
  const auto schedule = MakeSchedule(layout, {.microbatches = microbatches});
  const Timeline timeline = Simulate(layout, *schedule, {.latency = 0.25});
  const std::string svg = DrawSvg(layout, timeline, {.title = "a < b", .unit = "s"});
  int computed = 0, waits = 0;
  for (const auto& spans : timeline.ranks) {
    for (const Span& span : spans) (span.instruction.computes() ? computed : waits) += 1;
  }
  EXPECT_GE(computed, 3 * 2 * microbatches);
  EXPECT_GT(waits, 0);
  EXPECT_EQ(Count(svg, "<title>"), computed + waits);
  EXPECT_EQ(Count(svg, "</title></rect>"), computed);
  EXPECT_THAT(svg, AllOf(StartsWith("<svg xmlns="), EndsWith("</svg>\n"), HasSubstr("a &lt; b: FOLDED, 2 ranks, 4"),
                         HasSubstr("E &amp; 1"), HasSubstr("weight gradients down"), HasSubstr(" s, efficiency"),
                         Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
  EXPECT_EQ(Count(svg, "<svg"), 1);
  EXPECT_EQ(Count(svg, "<text"), Count(svg, "</text>"));
}

TEST(PipelineDraw, NothingIsDrawnAsNothing) {
  const Layout layout = SmallLayout();
  Timeline empty;
  empty.ranks.resize(2);
  EXPECT_THAT(DrawSvg(layout, empty, {}), AllOf(Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
  EXPECT_THAT(DrawText(layout, empty, 10), HasSubstr("  1 ..........\n"));
}

}  // namespace
}  // namespace photon::pipeline
