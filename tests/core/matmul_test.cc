#include "core/ops/matmul.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/cpu/matvec.h"
#include "core/ops/elementwise.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectGradient;
using testing::ExpectNear;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::OnCpu;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;
using testing::WeightedSum;

struct Types {
  DType in;
  DType out;
  DType bias() const { return in == DType::kF64 ? DType::kF64 : DType::kF32; }
};

constexpr Types kTypes[] = {
    {DType::kF64, DType::kF64}, {DType::kF32, DType::kF32}, {DType::kBF16, DType::kBF16}, {DType::kBF16, DType::kF32}};

// A [rows, columns] view of random values: contiguous, or columns 3 .. of a matrix wider by 8.
Tensor RandomMatrix(const Context& context, int64_t rows, int64_t columns, DType dtype, uint64_t seed, bool strided) {
  if (!strided) return RandomTensor(context, {rows, columns}, dtype, seed);
  return RandomTensor(context, {rows, columns + 8}, dtype, seed).Columns(3, 3 + columns);
}

struct Reference {
  std::vector<double> c;
  double magnitude = 0;  // the largest sum of absolute values of an element's terms
  double largest = 0;
};

Reference MatMulReference(const Context& context, const Tensor& a, bool ta, const Tensor& b, bool tb,
                          const Tensor& bias, const std::vector<double>& old_c) {
  const auto a_values = ToDoubles(context, a), b_values = ToDoubles(context, b);
  const auto bias_values = bias.defined() ? ToDoubles(context, bias) : std::vector<double>();
  const int64_t m = a.dim(ta ? 1 : 0), k = a.dim(ta ? 0 : 1), n = b.dim(tb ? 0 : 1);
  Reference reference;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, magnitude = 0;
      const auto add = [&](double term) {
        sum += term;
        magnitude += std::abs(term);
      };
      if (bias.defined()) add(bias_values[j]);
      if (!old_c.empty()) add(old_c[i * n + j]);
      for (int64_t l = 0; l < k; ++l) add(a_values[ta ? l * m + i : i * k + l] * b_values[tb ? j * k + l : l * n + j]);
      reference.c.push_back(sum);
      reference.magnitude = std::max(reference.magnitude, magnitude);
      reference.largest = std::max(reference.largest, std::abs(sum));
    }
  }
  return reference;
}

// K products and K + 1 additions, in any order, each with one rounding: at most (K + 2) u times the sum of absolute
// terms, to first order; then the rounding to the output type. The factor covers second order.
double Bound(const Reference& reference, int64_t k, Types types) {
  const double accumulate = UnitRoundoff(types.in == DType::kF64 ? DType::kF64 : DType::kF32);
  return 1.01 * ((k + 2) * accumulate * reference.magnitude + UnitRoundoff(types.out) * reference.largest);
}

void CheckProduct(const Context& context, int64_t m, int64_t k, int64_t n, bool ta, bool tb, Types types, bool has_bias,
                  bool accumulate, bool strided) {
  const Tensor a =
      ta ? RandomMatrix(context, k, m, types.in, 1, strided) : RandomMatrix(context, m, k, types.in, 1, strided);
  const Tensor b =
      tb ? RandomMatrix(context, n, k, types.in, 2, strided) : RandomMatrix(context, k, n, types.in, 2, strided);
  const Tensor bias = has_bias ? RandomTensor(context, {n}, types.bias(), 3) : Tensor();
  const int64_t margin = strided ? 4 : 0;
  const std::vector<double> poison(m * (n + 2 * margin), NAN);
  const Tensor whole = FromDoubles(context, poison, {m, n + 2 * margin}, types.out);
  const Tensor c = whole.Columns(margin, margin + n);
  std::vector<double> old_c;
  if (accumulate) {
    const Tensor start = RandomTensor(context, {m, n}, types.out, 4);
    ops::Cast(context, start, c);
    old_c = ToDoubles(context, start);
  }
  ops::MatMul(context, a, ta, b, tb, bias, accumulate ? 1 : 0, c);
  const Reference want = MatMulReference(context, a, ta, b, tb, bias, old_c);
  const std::string what = absl::StrCat(Name(types.in), "->", Name(types.out), " ", m, "x", k, "x", n, " ta ", ta,
                                        " tb ", tb, " bias ", has_bias, " beta ", accumulate, " strided ", strided);
  ExpectNear(ToDoubles(context, c), want.c, Bound(want, k, types), what);
  for (const Tensor& outside : {whole.Columns(0, margin), whole.Columns(margin + n, n + 2 * margin)}) {
    for (double value : ToDoubles(context, outside)) ASSERT_TRUE(std::isnan(value)) << what << " wrote outside of c";
  }
}

class MatMulTypes : public ::testing::TestWithParam<Types> {};

TEST_P(MatMulTypes, AgreesWithReference) {
  const TestContext context;
  const int64_t shapes[][3] = {{1, 1, 1},   {1, 17, 3},  {3, 1, 65},    {2, 64, 1},  {16, 16, 16},
                               {17, 65, 3}, {65, 3, 17}, {33, 130, 47}, {5, 96, 96}, {130, 31, 66}};
  for (const auto& [m, k, n] : shapes) {
    for (int flags = 0; flags < 32; ++flags) {
      CheckProduct(context, m, k, n, flags & 1, flags & 2, GetParam(), flags & 4, flags & 8, flags & 16);
    }
  }
}

TEST_P(MatMulTypes, EmptyDimensions) {
  const TestContext context;
  const int64_t shapes[][3] = {{0, 3, 5}, {3, 0, 5}, {3, 5, 0}, {0, 0, 0}};
  for (const auto& [m, k, n] : shapes) {
    for (int flags = 0; flags < 16; ++flags) {
      CheckProduct(context, m, k, n, flags & 1, flags & 2, GetParam(), flags & 4, flags & 8, false);
    }
  }
}

// Reversing the rows of op(A) reverses those of C, bit for bit, in places that other register tiles and threads
// compute.
TEST_P(MatMulTypes, RowDependsOnItsRowAlone) {
  const TestContext context;
  const Types types = GetParam();
  const int64_t shapes[][3] = {{5, 64, 64}, {17, 100, 33}, {131, 256, 96}, {300, 700, 160}};
  for (const auto& [m, k, n] : shapes) {
    for (int flags = 0; flags < 4; ++flags) {
      const bool ta = flags & 1, tb = flags & 2;
      const Tensor a = RandomTensor(context, ta ? Shape{k, m} : Shape{m, k}, types.in, 1);
      const Tensor b = RandomTensor(context, tb ? Shape{n, k} : Shape{k, n}, types.in, 2);
      std::vector<double> values = ToDoubles(context, a), reversed(values.size());
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t l = 0; l < k; ++l) {
          const int64_t j = m - 1 - i;
          reversed[ta ? l * m + j : j * k + l] = values[ta ? l * m + i : i * k + l];
        }
      }
      const Tensor a_reversed = FromDoubles(context, reversed, a.shape(), types.in);
      const Tensor c = context.get().Empty({m, n}, types.out), c_reversed = context.get().Empty({m, n}, types.out);
      ops::MatMul(context, a, ta, b, tb, Tensor(), 0, c);
      ops::MatMul(context, a_reversed, ta, b, tb, Tensor(), 0, c_reversed);
      const std::vector<double> rows = ToDoubles(context, c), rows_reversed = ToDoubles(context, c_reversed);
      for (int64_t i = 0; i < m; ++i) {
        ASSERT_TRUE(std::equal(&rows[i * n], &rows[i * n] + n, &rows_reversed[(m - 1 - i) * n]))
            << Name(types.in) << " " << m << "x" << k << "x" << n << " ta " << ta << " tb " << tb << " row " << i;
      }
    }
  }
}

// So deep that what is copied ahead (core/cuda/matmul_few_rows_mma.cu) comes round.
TEST_P(MatMulTypes, DeepProductsOfFewRows) {
  const TestContext context;
  for (const int64_t rows : {1, 9, 16}) {
    for (const bool accumulate : {false, true}) {
      CheckProduct(context, rows, 2600, 19, false, true, GetParam(), /*has_bias=*/accumulate, accumulate, false);
    }
  }
}

// Products of few rows, as in decoding: a row's result has the same bits whatever rows are computed beside it, and
// however many threads share the work. N and K reach over whole tiles and vectors.
TEST_P(MatMulTypes, FewRowsDoNotDependOnTheirNumber) {
  const TestContext context;
  const Types types = GetParam();
  if (types.in == DType::kF64) GTEST_SKIP() << "not promised";
  const int64_t most = OnCpu() ? cpu::MostFewRows(types.in) : 16, k = OnCpu() ? 200 : 2600;
  const int64_t n = OnCpu() ? 403 : 35;
  const Tensor a = RandomTensor(context, {most, k}, types.in, 1);
  const Tensor w = RandomTensor(context, {n, k}, types.in, 2);
  const Tensor all = context.get().Empty({most, n}, types.out);
  ops::MatMul(context, a, false, w, true, Tensor(), 0, all);
  const std::vector<double> want = ToDoubles(context, all);
  const int threads = omp_get_max_threads();
  for (const int64_t rows : {1, 2, 3, 5, 7, 8, 15, 17, 50, 127}) {
    omp_set_num_threads(static_cast<int>(1 + rows % 3));
    for (int64_t first = 0; first + rows <= most; first += OnCpu() ? 1 : most - rows) {
      const Tensor c = context.get().Empty({rows, n}, types.out);
      ops::MatMul(context, a.Rows(first, first + rows), false, w, true, Tensor(), 0, c);
      const std::vector<double> got = ToDoubles(context, c);
      ASSERT_TRUE(std::equal(got.begin(), got.end(), &want[first * n])) << rows << " from " << first;
    }
  }
  omp_set_num_threads(threads);
}

TEST_P(MatMulTypes, FewRowsInEveryOrderOfThreads) {
  const Types types = GetParam();
  for (const int64_t rows : {3, 16}) {
    InEveryOrder([&] {
      const TestContext context;
      const Tensor a = RandomTensor(context, {rows, 2600}, types.in, 1),
                   w = RandomTensor(context, {9, 2600}, types.in, 2);
      const Tensor c = context.get().Empty({rows, 9}, types.out);
      ops::MatMul(context, a, false, w, true, Tensor(), 0, c);
      return ToDoubles(context, c);
    });
  }
}

TEST_P(MatMulTypes, NoNumberOfRowsMattersWhereTheContextSaysSo) {
  const TestContext plain;
  Context context = plain;
  context.SetBatchInvariant(true);
  const Types types = GetParam();
  if (types.in == DType::kF64) GTEST_SKIP() << "not promised";
  const int64_t rows = OnCpu() ? 203 : 40, k = 200, n = 35;
  const Tensor a = RandomTensor(context, {rows, k}, types.in, 1);
  const Tensor w = RandomTensor(context, {n, k}, types.in, 2);
  const Tensor all = context.Empty({rows, n}, types.out);
  ops::MatMul(context, a, false, w, true, Tensor(), 0, all);
  const std::vector<double> want = ToDoubles(context, all);
  for (const int64_t count : {int64_t{1}, int64_t{16}, int64_t{17}, int64_t{33}, rows - 1}) {
    const int64_t first = rows - count;
    const Tensor c = context.Empty({count, n}, types.out);
    ops::MatMul(context, a.Rows(first, rows), false, w, true, Tensor(), 0, c);
    const std::vector<double> got = ToDoubles(context, c);
    ASSERT_TRUE(std::equal(got.begin(), got.end(), &want[first * n])) << count;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MatMulTypes, ::testing::ValuesIn(kTypes),
                         [](const auto& info) { return absl::StrCat(Name(info.param.in), "_", Name(info.param.out)); });

// Ranks as threads: primitives made by one thread are run by others, at the same time.
TEST(MatMul, SeveralThreadsAtOnce) {
  if (!OnCpu()) GTEST_SKIP() << "a context of a device serves one thread";
  const TestContext context;
  const Tensor a = RandomTensor(context, {67, 130}, DType::kBF16, 1);
  const Tensor b = RandomTensor(context, {75, 130}, DType::kBF16, 2);
  const Tensor want = context.get().Empty({67, 75}, DType::kF32);
  ops::MatMul(context, a, false, b, true, Tensor(), 0, want);
  std::vector<std::thread> threads;
  std::vector<int> differences(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const Tensor c = context.get().Empty(want.shape(), DType::kF32);
        ops::MatMul(context, a, false, b, true, Tensor(), 0, c);
        if (std::memcmp(c.raw(), want.raw(), c.bytes()) != 0) ++differences[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(differences, std::vector<int>(4));
}

TEST(MatMulDeathTest, RefusesWhatDoesNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TestContext context;
  const auto tensor = [&](Shape shape, DType dtype) { return context.get().Empty(std::move(shape), dtype); };
  const Tensor a = tensor({2, 3}, DType::kF32), b = tensor({4, 3}, DType::kF32), c = tensor({2, 4}, DType::kF32);
  const auto exits = ::testing::ExitedWithCode(1);
  EXPECT_EXIT(ops::MatMul(context, a, false, b, false, Tensor(), 0, c), exits,
              "\\[matmul\\] shapes.*f32\\[2, 3\\].*f32\\[4, 3\\]");
  EXPECT_EXIT(ops::MatMul(context, a, false, b, true, Tensor(), 0, tensor({2, 4}, DType::kBF16)), exits,
              "\\[matmul\\] dtypes.*bf16\\[2, 4\\]");
  EXPECT_EXIT(ops::MatMul(context, a, false, b, true, tensor({3}, DType::kF32), 0, c), exits, "\\[matmul\\] bias");
  EXPECT_EXIT(ops::MatMul(context, a, false, b, true, Tensor(), 0.5, c), exits, "\\[matmul\\] beta 0.5");
  EXPECT_EXIT(ops::MatMul(context, a, false, Tensor(), true, Tensor(), 0, c), exits, "\\[matmul\\] not matrices");
}

// A linear layer whose weight is a group of two parameters, as q, k and v are.
class LinearTest : public ::testing::Test {
 protected:
  static constexpr int64_t kRows = 7, kIn = 5, kOut = 9;

  void Make(DType master, DType compute, bool gradients = true) {
    const Init init = {.mean = 0, .stddev = 0.5};
    const auto spec = [&](const char* name, Shape shape) {
      ParameterSpec s;
      s.name = name;
      s.shape = std::move(shape);
      s.init = init;
      return s;
    };
    weight_ = set_.Add({spec("a", {4, kIn}), spec("b", {kOut - 4, kIn})}, /*compute_copy=*/true);
    bias_ = set_.Add({spec("bias", {kOut})});
    set_.Allocate(context_, {.master = master, .compute = compute, .gradients = gradients, .at = {}});
    set_.Initialize(context_, 1);
  }

  const TestContext context_;
  ParameterSet set_;
  const Weight* weight_ = nullptr;
  const Weight* bias_ = nullptr;
};

TEST_F(LinearTest, Gradients) {
  Make(DType::kF64, DType::kF64);
  const Tensor x = RandomTensor(context_, {kRows, kIn}, DType::kF64, 1);
  const Tensor seed = RandomTensor(context_, {kRows, kOut}, DType::kF64, 2);
  const auto loss = [&] {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return WeightedSum(context_, ops::Linear(tape, Var(x), *weight_, bias_, DType::kF64).value, seed);
  };
  for (const bool split_backward : {false, true}) {
    set_.ZeroGradients(context_);
    Tape tape(context_, Tape::Mode::kRecord);
    const Var leaf = tape.Leaf(x);
    // The gradient arrives under another shape.
    const Var y = ops::Linear(tape, leaf, *weight_, bias_, DType::kF64).Reshape({kRows, 3, 3});
    y.slot->Accumulate(context_, seed.Reshape({kRows, 3, 3}));
    if (split_backward) {
      tape.BackwardInputs();
      for (double g : ToDoubles(context_, set_.gradient())) EXPECT_EQ(g, 0) << "weight gradients were put off";
      tape.BackwardWeights();
    } else {
      tape.Backward();
    }
    ExpectGradient(context_, x, leaf.slot->gradient(), loss, "x");
    ExpectGradient(context_, weight_->master, weight_->gradient, loss, "weight");
    ExpectGradient(context_, bias_->master, bias_->gradient, loss, "bias");
  }
}

TEST_F(LinearTest, WeightGradientsAddUp) {
  Make(DType::kF32, DType::kF32);
  std::vector<double> once;
  for (int repeat = 0; repeat < 2; ++repeat) {
    Tape tape(context_, Tape::Mode::kRecord);
    const Var y =
        ops::Linear(tape, Var(RandomTensor(context_, {kRows, kIn}, DType::kF32, 1)), *weight_, bias_, DType::kF32);
    y.slot->Accumulate(context_, RandomTensor(context_, {kRows, kOut}, DType::kF32, 2));
    tape.Backward();
    if (repeat == 0) once = ToDoubles(context_, set_.gradient());
  }
  double largest = 0;
  for (double& g : once) largest = std::max(largest, std::abs(g *= 2));
  // The second sum starts from the first: its roundings differ, by some u per term of the kRows.
  ExpectNear(ToDoubles(context_, set_.gradient()), once, 4 * kRows * 0x1p-24 * largest, "twice the gradient");
}

TEST_F(LinearTest, MasterTypeInputIsCastFirst) {
  Make(DType::kF32, DType::kBF16);
  const Tensor x = RandomTensor(context_, {kRows, kIn}, DType::kF32, 1);
  const Tensor x_bf16 = context_.get().Empty(x.shape(), DType::kBF16);
  ops::Cast(context_, x, x_bf16);
  const Tensor dy = RandomTensor(context_, {kRows, kOut}, DType::kF32, 2);
  const Tensor dy_bf16 = context_.get().Empty(dy.shape(), DType::kBF16);
  ops::Cast(context_, dy, dy_bf16);

  for (const DType output : {DType::kF32, DType::kBF16}) {
    set_.ZeroGradients(context_);
    Tape tape(context_, Tape::Mode::kRecord);
    const Var leaf = tape.Leaf(x);
    const Var y = ops::Linear(tape, leaf, *weight_, bias_, output);
    const Types types = {DType::kBF16, output};
    const Reference want = MatMulReference(context_, x_bf16, false, weight_->compute, true, bias_->master, {});
    ASSERT_EQ(y.value.dtype(), output);
    ExpectNear(ToDoubles(context_, y.value), want.c, Bound(want, kIn, types), "y");

    y.slot->Accumulate(context_, output == DType::kF32 ? dy : dy_bf16);
    tape.Backward();
    const Types to_f32 = {DType::kBF16, DType::kF32};
    const Tensor dx = leaf.slot->gradient();
    ASSERT_EQ(dx.dtype(), DType::kF32) << "the gradient has x's own type";
    const Reference want_dx = MatMulReference(context_, dy_bf16, false, weight_->compute, false, Tensor(), {});
    ExpectNear(ToDoubles(context_, dx), want_dx.c, Bound(want_dx, kOut, to_f32), "dx");
    const Reference want_dw = MatMulReference(context_, dy_bf16, true, x_bf16, false, Tensor(), {});
    ExpectNear(ToDoubles(context_, weight_->gradient), want_dw.c, Bound(want_dw, kRows, to_f32), "dw");
  }
}

TEST_F(LinearTest, EvaluatesWithoutGradientBuffers) {
  Make(DType::kF32, DType::kF32, /*gradients=*/false);
  Tape tape(context_, Tape::Mode::kEvaluate);
  const Var y =
      ops::Linear(tape, Var(RandomTensor(context_, {1, kIn}, DType::kF32, 1)), *weight_, nullptr, DType::kF32);
  EXPECT_FALSE(y.needs_gradient());
  EXPECT_EQ(y.value.shape(), (Shape{1, kOut}));
}

}  // namespace
}  // namespace photon
