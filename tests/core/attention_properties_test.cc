// What attention promises beyond its values: who cannot touch whom, the same bits, the rotation inside, refusals.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/ops/attention.h"
#include "core/ops/rope.h"
#include "tests/core/attention_reference.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using ops::AttentionShape;
using testing::Attention;
using testing::Bytes;
using testing::Doubles;
using testing::ExpectGradient;
using testing::FillRows;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::IntTensor;
using testing::OnCpu;
using testing::TestContext;
using testing::ToDoubles;
using Case = testing::AttentionCase;

// What no visible row may notice. A matrix unit multiplies hidden rows by zero, so what they hold must be finite there;
// their scores may still overflow.
double Garbage() { return OnCpu() ? std::numeric_limits<double>::quiet_NaN() : 1e30; }

class AttentionProperties : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, AttentionProperties, ::testing::Values(DType::kF64, DType::kF32, DType::kBF16));

// Rows from which on everything is replaced, largest first: all of a window, and those around borders of tiles.
std::vector<int64_t> Cuts(int64_t length) {
  std::vector<int64_t> cuts;
  for (int64_t cut = length - 1; cut > 0; --cut) {
    if (length <= 16 || cut % 32 <= 1 || cut % 32 == 31) cuts.push_back(cut);
  }
  return cuts;
}

TEST_P(AttentionProperties, LaterRowsChangeNothingBefore) {
  const TestContext context;
  for (const Case& c : {Case{1, 5, 4, 2, 64}, Case{1, 8, 2, 2, 20}, Case{1, 150, 2, 1, 52}}) {
    Attention a(context, c, GetParam());
    a.Forward();
    Attention b(context, c, GetParam());
    int64_t end = c.length;
    for (const int64_t cut : Cuts(c.length)) {
      FillRows(context, b.qkv, cut, end, cut % 2 == 0 ? Garbage() : 1e30);
      end = cut;
      b.Forward();
      ASSERT_EQ(Bytes(context, a.out, 0, cut), Bytes(context, b.out, 0, cut)) << c << " changed from row " << cut;
      for (int h = 0; h < c.heads; ++h) {
        ASSERT_EQ(Bytes(context, a.lse.Rows(h, h + 1).Columns(0, cut), 0, 1),
                  Bytes(context, b.lse.Rows(h, h + 1).Columns(0, cut), 0, 1));
      }
      ASSERT_NE(Bytes(context, a.out, cut, cut + 1), Bytes(context, b.out, cut, cut + 1))
          << "the row itself must change";
    }
  }
}

TEST_P(AttentionProperties, DocumentsDoNotTouchEachOther) {
  const TestContext context;
  for (const Case& c : {Case{2, 8, 4, 2, 20, 3}, Case{2, 150, 2, 1, 52, 20}, Case{1, 200, 2, 1, 64, 70}}) {
    const int64_t begin = c.document, end = std::min(c.length, 2 * c.document);  // the second document of sequence 0
    Attention a(context, c, GetParam());
    a.Forward();
    a.Backward();
    Attention b(context, c, GetParam());
    for (const Tensor& t : {b.qkv, b.dout}) {
      FillRows(context, t, 0, begin, Garbage());
      FillRows(context, t, end, c.rows(), Garbage());
    }
    b.Forward();
    b.Backward();
    EXPECT_EQ(Bytes(context, a.out, begin, end), Bytes(context, b.out, begin, end)) << c;
    EXPECT_EQ(Bytes(context, a.gradient, begin, end), Bytes(context, b.gradient, begin, end)) << c;
  }
}

TEST_P(AttentionProperties, SameBitsInEveryOrderOfThreads) {
  // The long ones: for a GPU's warpgroups, whose tiles come round.
  for (const Case& c : {Case{1, 130, 3, 2, 60, 40}, Case{1, 70, 2, 1, 128}, Case{1, 20, 2, 1, 33},
                        Case{1, 600, 2, 1, 64, 200}, Case{1, 600, 1, 1, 128}}) {
    if (c.length > 130 && GetParam() != DType::kBF16) continue;
    InEveryOrder([&] {
      const TestContext context;
      Attention a(context, c, GetParam());
      a.Forward();
      a.Backward();
      Doubles all = ToDoubles(context, a.out);
      for (const Tensor& t : {a.lse, a.gradient}) {
        const Doubles more = ToDoubles(context, t);
        all.insert(all.end(), more.begin(), more.end());
      }
      return all;
    });
  }
}

TEST_P(AttentionProperties, LogSumExpMayLieInAWiderMatrix) {
  const TestContext context;
  const Case c = {1, 70, 2, 1, 52};
  Attention a(context, c, GetParam()), b(context, c, GetParam());
  b.lse = context.get().Empty({c.heads, c.rows() + 3}, a.lse.dtype()).Columns(1, c.rows() + 1);
  for (Attention* x : {&a, &b}) {
    x->Forward();
    x->Backward();
  }
  EXPECT_EQ(ToDoubles(context, a.lse), ToDoubles(context, b.lse));
  EXPECT_EQ(Bytes(context, a.gradient, 0, c.rows()), Bytes(context, b.gradient, 0, c.rows()));
}

TEST_P(AttentionProperties, NaNStaysVisible) {
  const TestContext context;
  for (const Case& c : {Case{1, 5, 2, 1, 20}, Case{1, 150, 2, 1, 52}}) {
    const int64_t row = c.length / 2;
    for (const bool in_values : {false, true}) {
      Attention a(context, c, GetParam());
      FillRows(context, in_values ? a.V(a.qkv) : a.K(a.qkv), row, row + 1, std::numeric_limits<double>::quiet_NaN());
      a.Forward();
      for (const int64_t later : {row, c.length - 1}) {
        for (const double x : ToDoubles(context, a.out.Rows(later, later + 1))) {
          ASSERT_TRUE(std::isnan(x)) << c << " row " << later << (in_values ? ", values" : ", keys");
        }
      }
    }
  }
}

TEST_P(AttentionProperties, SameBitsForAnyBatchAndNumberOfThreads) {
  const TestContext context;
  const int threads = omp_get_max_threads();
  const int64_t windows = OnCpu() ? 3000 : 40;  // enough for every thread of a CPU
  for (const Case& c : {Case{windows, 5, 4, 2, 32}, Case{6, 70, 4, 2, 20, 15}}) {
    Attention a(context, c, GetParam());
    omp_set_num_threads(1);
    a.Forward();
    a.Backward();
    Attention b(context, c, GetParam());
    omp_set_num_threads(3);
    b.Forward();
    b.Backward();
    omp_set_num_threads(threads);
    EXPECT_EQ(Bytes(context, a.out, 0, c.rows()), Bytes(context, b.out, 0, c.rows())) << c;
    EXPECT_EQ(Bytes(context, a.gradient, 0, c.rows()), Bytes(context, b.gradient, 0, c.rows())) << c;

    const int64_t last = c.batch - 1, row = last * c.length;  // the last sequence alone
    AttentionShape shape = a.shape;
    shape.batch = 1;
    if (shape.first_key.defined()) shape.first_key = shape.first_key.Rows(row, c.rows());
    const Tensor own = a.qkv.Rows(row, c.rows());
    const Tensor out = context.get().Empty({c.length, c.q_columns()}, GetParam());
    ops::AttentionForward(context, a.Q(own), a.K(own), a.V(own), shape, out, {});
    EXPECT_EQ(Bytes(context, out, 0, c.length), Bytes(context, a.out, row, c.rows())) << c;
  }
}

double Weighted(const Context& context, const Tensor& out, const Tensor& weights) {
  const Doubles a = ToDoubles(context, out), b = ToDoubles(context, weights);
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

Tensor Copy(const Context& context, const Tensor& t) {
  return FromDoubles(context, ToDoubles(context, t), t.shape(), t.dtype());
}

TEST(RotaryAttention, GradientInBothRegimes) {
  const TestContext context;
  for (const Case& c : {Case{3, 5, 2, 2, 8}, Case{2, 8, 4, 2, 6, 3}, Case{2, 11, 3, 2, 10}, Case{1, 70, 2, 1, 4, 30}}) {
    const Attention a(context, c, DType::kF64);
    const Tensor table = ops::RopeTable(context, c.length, c.head_dim, 100.0, DType::kF64);
    std::vector<int32_t> positions;
    for (int64_t i = 0; i < c.rows(); ++i) positions.push_back(static_cast<int32_t>(i % c.length));
    const Tensor index = IntTensor(context, positions);
    const auto loss = [&] {
      Tape tape(context, Tape::Mode::kEvaluate);
      return Weighted(context, ops::RotaryAttention(tape, Var(Copy(context, a.qkv)), a.shape, index, table).value,
                      a.dout);
    };
    Tape tape(context, Tape::Mode::kRecord);
    const Var qkv = tape.Leaf(Copy(context, a.qkv));
    const Var out = ops::RotaryAttention(tape, qkv, a.shape, index, table);
    out.slot->Accumulate(context, a.dout.Reshape({c.rows() * c.heads, c.head_dim}));
    tape.Backward();
    ExpectGradient(context, a.qkv, qkv.slot->gradient(), loss, c.Name(), OnCpu() ? 200 : 20);
  }
}

TEST(RotaryAttention, RotatesInPlaceAndRecordsOnlyWhereWanted) {
  const TestContext context;
  const Case c = {2, 5, 2, 1, 8};
  const Attention a(context, c, DType::kF32);
  const Tensor table = ops::RopeTable(context, 5, 8, 1e4, DType::kF32);
  const Tensor index = IntTensor(context, {0, 1, 2, 3, 4, 0, 1, 2, 3, 4});
  const Tensor rotated = Copy(context, a.qkv);
  ops::Rope(context, rotated.Columns(0, 3 * 8), 8, index, table, false);
  Tape tape(context, Tape::Mode::kRecord);
  const Var out = ops::RotaryAttention(tape, Var(a.qkv), a.shape, index, table);
  EXPECT_FALSE(out.needs_gradient());
  EXPECT_EQ(Bytes(context, a.qkv, 0, c.rows()), Bytes(context, rotated, 0, c.rows()));
  const Var unused = ops::RotaryAttention(tape, tape.Leaf(Copy(context, a.qkv)), a.shape, index, table);
  tape.Backward();  // no gradient arrives: nothing to do, nothing to fail
  EXPECT_FALSE(unused.slot->gradient().defined());
}

TEST(AttentionDeathTest, NamesOperationShapesAndTypes) {
  const TestContext context;
  Attention a(context, {2, 5, 4, 2, 8}, DType::kF32);
  a.shape.kv_heads = 4;
  EXPECT_EXIT(a.Forward(), ::testing::ExitedWithCode(1), "\\[attention_forward\\] q f32\\[10, 32\\].*kv_heads 4");
  a.shape.kv_heads = 2;
  const Tensor none;
  a.lse = none;
  EXPECT_EXIT(a.Backward(), ::testing::ExitedWithCode(1), "\\[attention_backward\\].*lse undefined tensor");
}

// Other devices do not read first_key before they use it; kernels stay inside the sequence whatever it holds.
TEST(AttentionDeathTest, CpuRefusesImpossibleFirstKeys) {
  const TestContext context;
  if (!OnCpu()) GTEST_SKIP();
  Attention a(context, {2, 5, 4, 2, 8}, DType::kF32);
  a.shape.first_key = IntTensor(context, {0, 0, 0, 0, 0, 0, 2, 0, 0, 0});
  EXPECT_EXIT(a.Forward(), ::testing::ExitedWithCode(1), "first_key 2 of row 1 of sequence 1");
  a.shape.first_key = IntTensor(context, {0, 0, 2, 1, 1, 0, 0, 0, 0, 0});
  EXPECT_EXIT(a.Forward(), ::testing::ExitedWithCode(1), "first_key 1 of row 3 of sequence 0");
}

}  // namespace
}  // namespace photon
