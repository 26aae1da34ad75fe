// The tape against itself: whatever is sliced, run again or split in two gives the gradients of the plain run, and a
// parameter's hook is called once, when nothing more will be added.
#include "core/tape.h"

#include <gtest/gtest.h>

#include <map>

#include "core/ops/matmul.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using namespace photon::testing;

constexpr int64_t kRows = 7, kWidth = 5;

class TapeTest : public ::testing::Test {
 protected:
  TapeTest() {
    for (const char* name : {"a", "b", "c"}) {
      weights_[name] = parameters_.Add({{name, {kWidth, kWidth}, {.mean = 0, .stddev = 0.5}, false, {}}}, true);
    }
    fused_ = parameters_.Add({{"q", {2, kWidth}, {.mean = 0, .stddev = 0.5}, false, {}},
                              {"k", {3, kWidth}, {.mean = 0, .stddev = 0.5}, false, {}}},
                             true);
    parameters_.Allocate(context_, {.master = DType::kF64, .compute = DType::kF64, .gradients = true, .at = {}});
    parameters_.Initialize(context_, 1);
    x_ = RandomTensor(context_, {kRows, kWidth}, DType::kF64, 2);
    // A device's products keep a workspace from the first one on: it is there before tests count what is in use.
    ops::MatMul(context_, x_, false, x_, true, Tensor(), 0, context_.get().Empty({kRows, kRows}, DType::kF64));
  }

  Var Apply(Tape& tape, const std::string& weight, const Var& x) {
    return ops::Linear(tape, x, *weights_.at(weight), nullptr, DType::kF64);
  }
  // y = x^2, which needs x in its backward pass.
  static Var Square(Tape& tape, const Var& x) {
    const Context& context = tape.context();
    std::vector<double> squares = ToDoubles(context, x.value);
    for (double& value : squares) value *= value;
    const Var y = tape.Output(FromDoubles(context, squares, x.value.shape(), DType::kF64), x.needs_gradient());
    if (!y.needs_gradient()) return y;
    tape.Record("square", [&tape, value = x.value, x_slot = x.slot, y_slot = y.slot] {
      const Tensor dy = y_slot->Take();
      if (!dy.defined()) return;
      std::vector<double> dx = ToDoubles(tape.context(), dy);
      const std::vector<double> x = ToDoubles(tape.context(), value);
      for (size_t i = 0; i < x.size(); ++i) dx[i] *= 2 * x[i];
      x_slot->Accumulate(tape.context(), FromDoubles(tape.context(), dx, value.shape(), DType::kF64));
    });
    return y;
  }
  // A loss: sum over elements of (1 + row + column / 10) y, rows counted from `begin`.
  static void Sink(Tape& tape, const Var& y, int64_t begin = 0) {
    if (!y.needs_gradient()) return;
    tape.Record("sink", [&tape, slot = y.slot, shape = y.value.shape(), begin] {
      std::vector<double> dy(shape.elements());
      for (int64_t i = 0; i < shape.elements(); ++i) dy[i] = 1 + begin + i / kWidth + 0.1 * (i % kWidth);
      slot->Accumulate(tape.context(), FromDoubles(tape.context(), dy, shape, DType::kF64));
    });
  }
  // A span with something to save: three layers.
  Var Span(Tape& tape, const Var& x) { return Apply(tape, "b", Square(tape, Apply(tape, "a", x))); }

  struct Gradients {
    std::vector<double> x, weights;
    bool operator==(const Gradients&) const = default;
  };
  // Clears what was gathered before.
  Gradients Take(const Var& x) {
    Gradients gradients{ToDoubles(context_, x.slot->Take()), ToDoubles(context_, parameters_.gradient())};
    parameters_.ZeroGradients(context_);
    return gradients;
  }
  using Build = std::function<void(Tape&, const Var& x)>;
  Gradients Run(const Build& build) {
    Tape tape(context_, Tape::Mode::kRecord);
    const Var x = tape.Leaf(x_);
    build(tape, x);
    tape.Backward();
    return Take(x);
  }
  // Sums of kRows terms in another order: each of at most kRows * kWidth products, far below 100 in size here.
  void ExpectClose(const Gradients& got, const Gradients& want, const std::string& what) {
    const double bound = kRows * kWidth * 0x1p-53 * 1000;
    ExpectNear(got.x, want.x, bound, what + ": x");
    ExpectNear(got.weights, want.weights, bound, what + ": weights");
  }

  TestContext context_;
  ParameterSet parameters_;
  std::map<std::string, const Weight*> weights_;
  const Weight* fused_ = nullptr;
  Tensor x_;
};

TEST_F(TapeTest, GradientsAreThoseOfDifferences) {
  const Gradients got = Run([&](Tape& tape, const Var& x) { Sink(tape, Span(tape, x)); });
  const auto loss = [&] {
    Tape tape(context_, Tape::Mode::kEvaluate);
    const std::vector<double> y = ToDoubles(context_, Span(tape, Var(x_)).value);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i)
      sum += y[i] * (1 + static_cast<double>(i / kWidth) + 0.1 * static_cast<double>(i % kWidth));
    return sum;
  };
  ExpectGradient(context_, x_, FromDoubles(context_, got.x, {kRows, kWidth}, DType::kF64), loss, "x");
  ExpectGradient(context_, parameters_.master(),
                 FromDoubles(context_, got.weights, parameters_.master().shape(), DType::kF64), loss, "weights", 1000);
}

TEST_F(TapeTest, SlicesAreTheWhole) {
  const Gradients whole = Run([&](Tape& tape, const Var& x) { Sink(tape, Span(tape, Apply(tape, "c", x))); });
  for (const int64_t slice : {1, 2, 3, 7, 100}) {
    std::vector<std::pair<int64_t, int64_t>> seen;
    const Gradients sliced = Run([&](Tape& tape, const Var& x) {
      tape.Slices(Apply(tape, "c", x), slice, [&](Tape& inner, const Var& rows, int64_t begin, int64_t end) {
        EXPECT_EQ(rows.value.dim(0), end - begin);
        seen.emplace_back(begin, end);
        Sink(inner, Span(inner, rows), begin);
      });
    });
    ExpectClose(sliced, whole, "slices of " + std::to_string(slice));
    int64_t next = 0;
    for (const auto& [begin, end] : seen) {
      EXPECT_EQ(begin, next);
      EXPECT_EQ(end, std::min(kRows, begin + slice));
      next = end;
    }
    EXPECT_EQ(next, kRows);
  }
}

TEST_F(TapeTest, SlicesDropTheirActivations) {
  std::vector<size_t> at_begin;
  Run([&](Tape& tape, const Var& x) {
    tape.Slices(x, 2, [&](Tape& inner, const Var& rows, int64_t begin, int64_t) {
      at_begin.push_back(context_.arena().in_use());
      Sink(inner, Span(inner, rows), begin);
    });
  });
  ASSERT_EQ(at_begin.size(), 4u);
  for (const size_t bytes : at_begin) EXPECT_EQ(bytes, at_begin[0]);
}

TEST_F(TapeTest, SliceThatIsNotUsedHasGradientZero) {
  const Gradients got = Run([&](Tape& tape, const Var& x) {
    tape.Slices(x, 3, [&](Tape& inner, const Var& rows, int64_t begin, int64_t) {
      if (begin != 3) Sink(inner, Square(inner, rows), begin);
    });
  });
  for (int64_t i = 0; i < kRows * kWidth; ++i) {
    if (i / kWidth >= 3 && i / kWidth < 6) {
      EXPECT_EQ(got.x[i], 0);
    } else {
      EXPECT_NE(got.x[i], 0);
    }
  }
}

TEST_F(TapeTest, SlicesOfWhatNeedsNoGradient) {
  const Gradients whole = Run([&](Tape& tape, const Var& x) { Sink(tape, Span(tape, x)); });
  Tape tape(context_, Tape::Mode::kRecord);
  tape.Slices(Var(x_), 2, [&](Tape& inner, const Var& rows, int64_t begin, int64_t) {
    EXPECT_FALSE(rows.needs_gradient());
    Sink(inner, Apply(inner, "b", Square(inner, Apply(inner, "a", rows))), begin);
  });
  tape.Backward();
  ExpectNear(ToDoubles(context_, parameters_.gradient()), whole.weights, kRows * kWidth * 0x1p-53 * 1000, "weights");
}

TEST_F(TapeTest, SlicesEvaluate) {
  Tape whole(context_, Tape::Mode::kEvaluate);
  const std::vector<double> want = ToDoubles(context_, Span(whole, Var(x_)).value);
  std::vector<double> got;
  Tape tape(context_, Tape::Mode::kEvaluate);
  tape.Slices(Var(x_), kRows, [&](Tape& inner, const Var& rows, int64_t, int64_t) {
    got = ToDoubles(context_, Span(inner, rows).value);
  });
  EXPECT_EQ(got, want);
  EXPECT_EQ(ToDoubles(context_, parameters_.gradient()), std::vector<double>(parameters_.gradient().elements()));
}

TEST_F(TapeTest, RecomputeIsThePlainRunToTheBit) {
  const Gradients plain = Run([&](Tape& tape, const Var& x) { Sink(tape, Span(tape, Span(tape, x))); });
  int calls = 0;
  const Tape::SpanBody body = [&](Tape& inner, const std::vector<Var>& inputs) {
    ++calls;
    return std::vector<Var>{Span(inner, inputs[0])};
  };
  const Gradients again = Run([&](Tape& tape, const Var& x) {
    Sink(tape, tape.Recompute(tape.Recompute({x}, body), body)[0]);
    EXPECT_EQ(calls, 2);
  });
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(again, plain);
}

TEST_F(TapeTest, RecomputeKeepsNoActivations) {
  const auto held = [&](bool recompute) {
    const size_t before = context_.arena().in_use();
    Tape tape(context_, Tape::Mode::kRecord);
    const Tape::SpanBody body = [&](Tape& t, const std::vector<Var>& in) { return std::vector<Var>{Span(t, in[0])}; };
    Var y = tape.Leaf(x_);
    for (int i = 0; i < 3; ++i) y = recompute ? tape.Recompute({y}, body)[0] : body(tape, {y})[0];
    return context_.arena().in_use() - before;
  };
  // The outputs of three spans, against those and the two activations inside each.
  EXPECT_EQ(3 * held(true), held(false));
}

TEST_F(TapeTest, RecomputeNestsAndHoldsSlices) {
  const Gradients plain = Run([&](Tape& tape, const Var& x) {
    const Var y = Span(tape, x);
    Sink(tape, Square(tape, Apply(tape, "c", y)));
    Sink(tape, y);
  });
  const Gradients nested = Run([&](Tape& tape, const Var& x) {
    const std::vector<Var> y = tape.Recompute({x}, [&](Tape& outer, const std::vector<Var>& in) {
      const Var a = outer.Recompute(in, [&](Tape& inner, const std::vector<Var>& i) {
        return std::vector<Var>{Square(inner, Apply(inner, "a", i[0]))};
      })[0];
      const Var b = Apply(outer, "b", a);
      return std::vector<Var>{b, Square(outer, Apply(outer, "c", b))};
    });
    Sink(tape, y[1]);
    Sink(tape, y[0]);
  });
  ExpectClose(nested, plain, "nested");
  const Gradients with_slices = Run([&](Tape& tape, const Var& x) {
    Sink(tape, tape.Recompute({x}, [&](Tape& outer, const std::vector<Var>& in) {
      const Var y = Span(outer, in[0]);
      outer.Slices(y, 2, [&](Tape& inner, const Var& rows, int64_t begin, int64_t) {
        Sink(inner, Square(inner, Apply(inner, "c", rows)), begin);
      });
      return std::vector<Var>{y};
    })[0]);
  });
  ExpectClose(with_slices, plain, "slices inside a span that is run again");
}

TEST_F(TapeTest, RecomputeOfSeveralInputsAndUnusedOutputs) {
  const Tensor other = RandomTensor(context_, {kRows, kWidth}, DType::kF64, 8);
  const auto run = [&](bool recompute) {
    Tape tape(context_, Tape::Mode::kRecord);
    const Var x = tape.Leaf(x_), fixed(other), second = tape.Leaf(other);
    const Tape::SpanBody body = [&](Tape& t, const std::vector<Var>& in) {
      return std::vector<Var>{Apply(t, "a", in[0]), Apply(t, "b", in[1]), Square(t, in[2]), in[1]};
    };
    const std::vector<Var> y = recompute ? tape.Recompute({x, fixed, second}, body) : body(tape, {x, fixed, second});
    EXPECT_FALSE(y[3].needs_gradient());
    Sink(tape, y[0]);
    Sink(tape, y[1]);
    tape.Backward();
    EXPECT_FALSE(second.slot->gradient().defined()) << "nothing asked for its output";
    return Take(x);
  };
  EXPECT_EQ(run(true), run(false));
}

TEST_F(TapeTest, BackwardInTwoHalves) {
  const Gradients plain = Run([&](Tape& tape, const Var& x) { Sink(tape, Span(tape, x)); });
  Tape tape(context_, Tape::Mode::kRecord);
  std::vector<std::string> complete;
  tape.on_gradient_complete([&](Parameter& p) { complete.push_back(p.spec.name); });
  const Var x = tape.Leaf(x_);
  Sink(tape, Span(tape, x));
  tape.BackwardInputs();
  EXPECT_EQ(ToDoubles(context_, x.slot->gradient()), plain.x);
  EXPECT_EQ(ToDoubles(context_, parameters_.gradient()), std::vector<double>(plain.weights.size())) << "weights wait";
  EXPECT_TRUE(complete.empty());
  tape.BackwardWeights();
  EXPECT_EQ(Take(x), plain);
  EXPECT_EQ(complete, (std::vector<std::string>{"b", "a"}));
}

// Used directly twice, in slices, and in a span that is run again: the hook comes once, after the last addition.
TEST_F(TapeTest, HooksComeOnceAndWhenFinal) {
  for (const bool halves : {false, true}) {
    parameters_.ZeroGradients(context_);
    Tape tape(context_, Tape::Mode::kRecord);
    std::map<std::string, std::vector<double>> at_hook;
    tape.on_gradient_complete([&](Parameter& p) {
      EXPECT_EQ(at_hook.count(p.spec.name), 0u) << p.spec.name << " twice";
      at_hook[p.spec.name] = ToDoubles(context_, p.gradient);
    });
    const Var x = tape.Leaf(x_);
    const Var fused = ops::Linear(tape, x, *fused_, nullptr, DType::kF64);
    const Var y = tape.Recompute({Apply(tape, "a", fused)}, [&](Tape& inner, const std::vector<Var>& in) {
      return std::vector<Var>{Span(inner, Span(inner, in[0]))};
    })[0];
    tape.Slices(y, 2, [&](Tape& inner, const Var& rows, int64_t begin, int64_t) {
      Sink(inner, Apply(inner, "c", Apply(inner, "a", rows)), begin);
    });
    EXPECT_EQ(at_hook.size(), 1u) << "what only the slices use is complete with them";
    EXPECT_EQ(at_hook.count("c"), 1u);
    if (halves) tape.BackwardInputs(), tape.BackwardWeights();
    if (!halves) tape.Backward();
    EXPECT_EQ(at_hook.size(), 5u) << "a, b, c, and both of the fused group";
    for (const auto& p : parameters_.parameters()) {
      EXPECT_EQ(at_hook[p->spec.name], ToDoubles(context_, p->gradient)) << p->spec.name << " changed after its hook";
      EXPECT_NE(at_hook[p->spec.name], std::vector<double>(p->elements())) << p->spec.name;
    }
  }
}

// A gradient's memory comes into being before the first node that adds to it, and goes when it is complete.
TEST_F(TapeTest, GradientsThatExistWhileTheyAreNeeded) {
  const auto build = [&](Tape& tape, const Var& x) {
    const Var fused = ops::Linear(tape, x, *fused_, nullptr, DType::kF64);
    const Var y = tape.Recompute({Apply(tape, "a", fused)}, [&](Tape& inner, const std::vector<Var>& in) {
      return std::vector<Var>{Span(inner, Span(inner, in[0]))};
    })[0];
    tape.Slices(y, 2, [&](Tape& inner, const Var& rows, int64_t begin, int64_t) {
      Sink(inner, Apply(inner, "c", Apply(inner, "b", rows)), begin);
    });
  };
  for (const bool halves : {false, true}) {
    const Gradients want = Run(build);
    std::map<std::string, std::vector<double>> plain;
    Run(build);  // cleared again
    {
      Tape tape(context_, Tape::Mode::kRecord);
      build(tape, tape.Leaf(x_));
      tape.Backward();
      for (const auto& p : parameters_.parameters()) plain[p->spec.name] = ToDoubles(context_, p->gradient);
    }
    parameters_.Allocate(context_, {.master = DType::kF64,
                                    .compute = DType::kF64,
                                    .at = {.index = {}, .size = {2, 1, 1, 1}},
                                    .sharding = Sharding::kGradients,
                                    .bucket_bytes = 1});
    parameters_.Initialize(context_, 1);
    std::map<std::string, std::vector<double>> got;
    Tape tape(context_, Tape::Mode::kRecord);
    tape.on_gradient_needed(
        [&](const Weight& weight) { parameters_.OpenGradients(context_, weight.parameters[0]->bucket); });
    tape.on_gradient_complete([&](Parameter& p) {
      ASSERT_TRUE(p.gradient.defined()) << p.spec.name;
      got[p.spec.name] = ToDoubles(context_, p.gradient);
      if (p.spec.name != "q") parameters_.CloseGradients(p.bucket);  // k is in its bucket
    });
    const Var x = tape.Leaf(x_);
    build(tape, x);
    EXPECT_FALSE(weights_["a"]->gradient.defined());
    EXPECT_TRUE(weights_["b"]->gradient.defined()) << "used in slices and before them: not complete";
    EXPECT_FALSE(weights_["c"]->gradient.defined()) << "complete with the slices";
    if (halves) tape.BackwardInputs(), tape.BackwardWeights();
    if (!halves) tape.Backward();
    EXPECT_EQ(got, plain);
    EXPECT_EQ(ToDoubles(context_, x.slot->Take()), want.x);
    for (const auto& p : parameters_.parameters()) EXPECT_FALSE(p->gradient.defined()) << p->spec.name;
    parameters_.Allocate(context_, {.master = DType::kF64, .compute = DType::kF64, .at = {}});
    parameters_.Initialize(context_, 1);
  }
}

// A pipeline's warm-up: two microbatches go forward before the first goes back; gradients add up.
TEST_F(TapeTest, SeveralTapesAtOnce) {
  const Gradients once = Run([&](Tape& tape, const Var& x) { Sink(tape, Span(tape, x)); });
  Tape first(context_, Tape::Mode::kRecord), second(context_, Tape::Mode::kRecord);
  const Var x1 = first.Leaf(x_), x2 = second.Leaf(x_);
  Sink(first, Span(first, x1));
  Sink(second, Span(second, x2));
  first.Backward();
  second.Backward();
  EXPECT_EQ(ToDoubles(context_, x1.slot->gradient()), once.x);
  EXPECT_EQ(ToDoubles(context_, x2.slot->gradient()), once.x);
  std::vector<double> twice = once.weights;
  for (double& g : twice) g *= 2;
  ExpectNear(ToDoubles(context_, parameters_.gradient()), twice, kRows * 0x1p-53 * 2000, "weights");
}

TEST_F(TapeTest, WhatNobodyAsksForHasNoGradient) {
  Tape tape(context_, Tape::Mode::kRecord);
  const Var x = tape.Leaf(x_);
  Span(tape, x);  // no sink
  tape.Backward();
  EXPECT_FALSE(x.slot->gradient().defined());
  EXPECT_FALSE(x.Detach().needs_gradient());
  const Var reshaped = x.Reshape({kWidth, kRows});
  EXPECT_EQ(reshaped.slot, x.slot);
}

TEST_F(TapeTest, BackwardFreesWhatItUsed) {
  const size_t before = context_.arena().in_use();
  {
    Tape tape(context_, Tape::Mode::kRecord);
    Sink(tape, Span(tape, tape.Leaf(x_)));
    EXPECT_GT(context_.arena().in_use(), before);
    tape.Backward();
    EXPECT_EQ(context_.arena().in_use(), before) << "while the tape is still there";
  }
}

TEST_F(TapeTest, EvaluatingKeepsNothing) {
  Tape tape(context_, Tape::Mode::kEvaluate);
  EXPECT_FALSE(tape.recording());
  EXPECT_FALSE(tape.Leaf(x_).needs_gradient());
  const size_t before = context_.arena().in_use();
  Span(tape, Var(x_));
  EXPECT_EQ(context_.arena().in_use(), before);
}

using TapeDeathTest = TapeTest;

TEST_F(TapeDeathTest, Misuse) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto exits = ::testing::ExitedWithCode(1);
  EXPECT_EXIT(Tape(context_, Tape::Mode::kEvaluate).Record("op", [] {}), exits, "op recorded while evaluating");
  EXPECT_EXIT(Tape(context_, Tape::Mode::kEvaluate).Backward(), exits, "does not record");
  EXPECT_EXIT(
      {
        Tape tape(context_, Tape::Mode::kRecord);
        tape.on_gradient_complete([](Parameter&) {});
        Sink(tape, Apply(tape, "a", tape.Leaf(x_)));
        tape.Backward();
        Apply(tape, "a", tape.Leaf(x_));
      },
      exits, "a is used again after its gradient was declared complete");
}

}  // namespace
}  // namespace photon
