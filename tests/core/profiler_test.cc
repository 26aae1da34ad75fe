// Scopes: their times are exclusive and add up; the backward pass finds the scope of the forward pass, however the tape
// was run; what is off records nothing.
#include "core/profiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "core/backend.h"
#include "core/tape.h"
#include "core/time.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

void Work(double seconds) {
  for (const double start = Now(); Now() - start < seconds;) {
  }
}

class ProfilerTest : public ::testing::Test {
 protected:
  ProfilerTest() : context_(Device{}, CpuBackend(), arena_, nullptr, &profiler_) {
    weight_ = parameters_.Add({{"w", {4, 4}, {.mean = 0, .stddev = 0.5}, false, {}}}, true);
    parameters_.Allocate(context_, {.master = DType::kF32, .compute = DType::kF32, .gradients = true, .at = {}});
    parameters_.Initialize(context_, 1);
    profiler_.SetActive(true);
  }

  const Profiler::ScopeTotals& Find(const std::string& name) const {
    for (const Profiler::ScopeTotals& scope : profiler_.scopes()) {
      if (scope.name == name) return scope;
    }
    ADD_FAILURE() << "no scope " << name;
    return profiler_.scopes()[0];
  }
  int64_t Bytes(const std::string& name, Traffic traffic) const { return Find(name).bytes[static_cast<int>(traffic)]; }

  // A layer in scope `name`, whose backward pass takes `seconds` and counts a byte.
  Var Slow(Tape& tape, const Var& x, const char* name, double seconds) {
    const Scope scope(tape.context(), name);
    const Var y = tape.Output(x.value, true);
    tape.Record(name, [this, seconds, x_slot = x.slot, y_slot = y.slot] {
      Work(seconds);
      profiler_.Count(Traffic::kCopied, 1);
      if (x_slot != nullptr) x_slot->Accumulate(context_, y_slot->Take());
    });
    return y;
  }
  static void Sink(Tape& tape, const Var& y) {
    tape.Record("sink", [&tape, slot = y.slot, shape = y.value.shape()] {
      slot->Accumulate(tape.context(), tape.context().Zeros(shape, DType::kF32));
    });
  }

  Profiler profiler_;
  Arena arena_;
  Context context_;
  ParameterSet parameters_;
  const Weight* weight_;
};

TEST_F(ProfilerTest, TimesAreExclusiveAndAddUp) {
  const double start = Now();
  {
    const Scope outer(context_, "outer");
    Work(0.004);
    for (int i = 0; i < 2; ++i) {
      const Scope inner(context_, "inner");
      Work(0.003);
    }
  }
  const double all = Now() - start;
  EXPECT_GE(Find("outer").forward_s, 0.004);
  EXPECT_GE(Find("inner").forward_s, 0.006);
  // Exclusive times partition the outer scope's own, which lies inside `all`; sums of four doubles round by 1e-15.
  double sum = 0;
  for (const Profiler::ScopeTotals& scope : profiler_.scopes()) sum += scope.forward_s + scope.backward_s;
  EXPECT_LE(sum, all + 1e-12);
  const Profiler::Span& last = profiler_.spans().back();
  EXPECT_NEAR(sum, last.end - last.begin, 1e-12);
  EXPECT_EQ(profiler_.scopes()[Find("inner").parent].name, "outer");
  EXPECT_EQ(profiler_.spans().size(), 3u);
}

TEST_F(ProfilerTest, TheBackwardPassCountsWhereItWasRecorded) {
  Tape tape(context_, Tape::Mode::kRecord);
  const Var x = tape.Leaf(context_.Zeros({2, 4}, DType::kF32));
  {
    const Scope outer(context_, "model");
    Sink(tape, Slow(tape, Slow(tape, x, "first", 0.002), "second", 0.004));
  }
  EXPECT_EQ(Bytes("first", Traffic::kCopied), 0);
  tape.Backward();
  EXPECT_GE(Find("first").backward_s, 0.002);
  EXPECT_GE(Find("second").backward_s, 0.004);
  EXPECT_LT(Find("first").forward_s, 0.002);
  EXPECT_EQ(Bytes("first", Traffic::kCopied), 1);
  EXPECT_EQ(Bytes("second", Traffic::kCopied), 1);
  EXPECT_EQ(profiler_.scopes()[Find("second").parent].name, "model");
}

TEST_F(ProfilerTest, SpansRunAgainAndDeferredWeightsKeepTheirScope) {
  Tape tape(context_, Tape::Mode::kRecord);
  const Var x = tape.Leaf(context_.Zeros({2, 4}, DType::kF32));
  std::vector<Var> outputs;
  {
    const Scope outer(context_, "stack");
    outputs = tape.Recompute({x}, [this](Tape& t, const std::vector<Var>& in) {
      const Scope scope(t.context(), "layer");
      return std::vector<Var>{ops::Linear(t, Slow(t, in[0], "inside", 0.002), *weight_, nullptr, DType::kF32)};
    });
  }
  Sink(tape, outputs[0]);
  tape.BackwardInputs();
  tape.BackwardWeights();
  EXPECT_EQ(Bytes("inside", Traffic::kCopied), 1);
  EXPECT_GE(Find("inside").backward_s, 0.002);
  EXPECT_EQ(profiler_.scopes()[Find("inside").parent].name, "layer");
  EXPECT_EQ(profiler_.scopes()[Find("layer").parent].name, "stack");
  EXPECT_GT(Find("layer").backward_s, 0);
  int layers = 0;  // one scope for both runs
  for (const Profiler::ScopeTotals& scope : profiler_.scopes()) layers += scope.name == "layer";
  EXPECT_EQ(layers, 1);
}

TEST_F(ProfilerTest, WeightGradientsThatWaitKeepTheirScope) {
  Tape tape(context_, Tape::Mode::kRecord);
  const Var x = tape.Leaf(context_.Zeros({2, 4}, DType::kF32));
  Var y;
  {
    const Scope scope(context_, "linear");
    y = tape.Output(x.value, true);
    tape.Record("linear", [this, &tape] { tape.WeightGradient([this] { profiler_.Count(Traffic::kAdded, 5); }); });
  }
  tape.BackwardInputs();
  EXPECT_EQ(Bytes("linear", Traffic::kAdded), 0);
  const Scope elsewhere(context_, "elsewhere");
  tape.BackwardWeights();
  EXPECT_EQ(Bytes("linear", Traffic::kAdded), 5);
}

TEST_F(ProfilerTest, TrafficIsReadAndWrittenBytes) {
  const Tensor f32 = context_.Empty({3, 5}, DType::kF32), bf16 = context_.Empty({3, 5}, DType::kBF16);
  {
    const Scope scope(context_, "traffic");
    ops::Zero(context_, f32);
    ops::Cast(context_, f32, bf16);
    ops::Cast(context_, f32, context_.Empty({3, 5}, DType::kF32));
    ops::Add(context_, bf16, f32);
    std::vector<float> host(15);
    context_.ToHost(f32, host.data());
    ops::CopyFromHost(context_, host.data(), f32);
  }
  EXPECT_THAT(Find("traffic").bytes, ElementsAre(60 + 30, 60 + 60, 30 + 2 * 60, 60, 2 * 60, 2 * 60));
}

TEST_F(ProfilerTest, NothingIsRecordedWhileOff) {
  profiler_.SetActive(false);
  {
    const Scope scope(context_, "unseen");
    context_.Zeros({8}, DType::kF32);
    profiler_.AddSpan("unseen", 1, 0, 1);
  }
  EXPECT_EQ(profiler_.scopes().size(), 1u);
  EXPECT_THAT(profiler_.spans(), IsEmpty());
  EXPECT_EQ(CurrentScope(context_), 0);
  profiler_.SetActive(true);
  { const Scope scope(context_, "seen"); }
  EXPECT_EQ(profiler_.scopes().size(), 2u);
  profiler_.Clear();
  EXPECT_EQ(profiler_.scopes().size(), 1u);
  EXPECT_THAT(profiler_.spans(), IsEmpty());
}

TEST_F(ProfilerTest, SwitchingInsideAScopeIsABug) {
  const Scope scope(context_, "open");
  EXPECT_DEATH(profiler_.SetActive(false), "inside scope open");
  EXPECT_DEATH(profiler_.Clear(), "inside scope open");
}

// A tool sees all scopes, timed or not; the backward pass under the names of the forward pass.
TEST_F(ProfilerTest, ShowsScopesToAMarker) {
  struct Marker : RangeMarker {
    void Push(const std::string& name) override { text += "(" + name; }
    void Pop() override { text += ")"; }
    std::string text;
  };
  Marker marker;
  profiler_.SetActive(false);
  profiler_.SetMarker(&marker);
  Profiler::ScopeId inside = 0;
  {
    const Scope a(context_, "a");
    const Scope b(context_, "b");
    inside = CurrentScope(context_);
  }
  {
    const Scope again(context_, inside);
    const Scope c(context_, "c");
  }
  EXPECT_EQ(marker.text, "(a(b))(backward a/b(c))");
  EXPECT_THAT(profiler_.spans(), IsEmpty());
  profiler_.SetMarker(nullptr);
  const Scope nobody(context_, "d");
  EXPECT_EQ(profiler_.current(), 0);
}

}  // namespace
}  // namespace photon
