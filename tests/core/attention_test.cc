#include "core/ops/attention.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/ops/rope.h"
#include "tests/core/attention_reference.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using ops::AttentionShape;
using testing::ExpectGradient;
using testing::ExpectNear;
using testing::FromDoubles;
using testing::IntTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::Attention;
using testing::Bounds;
using testing::BoundsOf;
using testing::Define;
using testing::Doubles;
using testing::Largest;
using testing::Reference;
using Case = testing::AttentionCase;

class AttentionCases : public ::testing::TestWithParam<std::tuple<Case, DType>> {};

TEST_P(AttentionCases, MatchesTheDefinition) {
  const TestContext context;
  const auto& [c, dtype] = GetParam();
  Attention a(context, c, dtype);
  a.Forward();
  a.Backward();
  const Reference r = Define(a);
  const Bounds bounds = BoundsOf(a, r);
  ExpectNear(ToDoubles(context, a.out), r.out, bounds.out, "out");
  ExpectNear(ToDoubles(context, a.lse), r.lse, bounds.lse, "lse");
  ExpectNear(ToDoubles(context, a.Q(a.gradient)), r.dq, bounds.dq, "dq");
  ExpectNear(ToDoubles(context, a.K(a.gradient)), r.dk, bounds.dk, "dk");
  ExpectNear(ToDoubles(context, a.V(a.gradient)), r.dv, bounds.dv, "dv");
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionCases,
    ::testing::Combine(::testing::Values(Case{7, 5, 4, 4, 64}, Case{3, 1, 2, 1, 32}, Case{5, 5, 3, 2, 52},
                                         Case{2, 4, 5, 5, 6}, Case{9, 3, 4, 2, 20},
                                         Case{2, 16, 2, 2, 128}, Case{2, 8, 2, 1, 96, 3}, Case{3, 13, 3, 1, 60, 4},
                                         Case{2, 9, 2, 2, 80}, Case{2, 17, 2, 2, 64}, Case{3, 17, 4, 2, 6, 5},
                                         Case{2, 64, 3, 2, 52}, Case{1, 65, 2, 2, 56, 1}, Case{2, 100, 4, 1, 20, 9},
                                         Case{1, 200, 2, 2, 128, 70}, Case{2, 257, 3, 3, 16},
                                         Case{1, 300, 3, 2, 60, 130}),
                       ::testing::Values(DType::kF64, DType::kF32, DType::kBF16)));

// Bytes of a tensor's row range: comparisons that see the sign of a zero and a NaN.
std::string Bytes(const Tensor& t, int64_t begin, int64_t end) {
  std::string bytes;
  for (int64_t i = begin; i < end; ++i) {
    const Tensor row = t.Rows(i, i + 1);
    bytes.append(static_cast<const char*>(row.raw()), row.bytes());
  }
  return bytes;
}

void FillRows(const Tensor& t, int64_t begin, int64_t end, double value) {
  VisitFloat(t.dtype(), [&](auto tag) {
    using T = decltype(tag);
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < t.dim(1); ++j)
        t.data<T>()[i * t.stride(0) + j] = T(static_cast<AccumulateType<T>>(value));
    }
  });
}

class EveryDType : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, EveryDType, ::testing::Values(DType::kF64, DType::kF32, DType::kBF16));

TEST_P(EveryDType, LaterRowsChangeNothingBefore) {
  const TestContext context;
  for (const Case& c : {Case{1, 5, 4, 2, 64}, Case{1, 8, 2, 2, 20}, Case{1, 150, 2, 1, 52}}) {
    Attention a(context, c, GetParam());
    a.Forward();
    Attention b(context, c, GetParam());
    for (int64_t cut = c.length - 1; cut > 0; --cut) {
      FillRows(b.qkv, cut, cut + 1, cut % 2 == 0 ? std::numeric_limits<double>::quiet_NaN() : 1e30);
      b.Forward();
      ASSERT_EQ(Bytes(a.out, 0, cut), Bytes(b.out, 0, cut)) << c << " changed from row " << cut;
      for (int h = 0; h < c.heads; ++h) {
        ASSERT_EQ(Bytes(a.lse.Rows(h, h + 1).Columns(0, cut), 0, 1), Bytes(b.lse.Rows(h, h + 1).Columns(0, cut), 0, 1));
      }
      ASSERT_NE(Bytes(a.out, cut, cut + 1), Bytes(b.out, cut, cut + 1)) << "the row itself must change";
    }
  }
}

TEST_P(EveryDType, DocumentsDoNotTouchEachOther) {
  const TestContext context;
  for (const Case& c : {Case{2, 8, 4, 2, 20, 3}, Case{2, 150, 2, 1, 52, 20}, Case{1, 200, 2, 1, 64, 70}}) {
    const int64_t begin = c.document, end = std::min(c.length, 2 * c.document);  // the second document of sequence 0
    Attention a(context, c, GetParam());
    a.Forward();
    a.Backward();
    Attention b(context, c, GetParam());
    for (const Tensor& t : {b.qkv, b.dout}) {
      FillRows(t, 0, begin, std::numeric_limits<double>::quiet_NaN());
      FillRows(t, end, c.rows(), std::numeric_limits<double>::quiet_NaN());
    }
    b.Forward();
    b.Backward();
    EXPECT_EQ(Bytes(a.out, begin, end), Bytes(b.out, begin, end)) << c;
    EXPECT_EQ(Bytes(a.gradient, begin, end), Bytes(b.gradient, begin, end)) << c;
    EXPECT_TRUE(std::isnan(ToDoubles(context, b.out.Rows(0, 1))[0])) << "NaN must stay visible";
  }
}

TEST_P(EveryDType, SameBitsForAnyBatchAndNumberOfThreads) {
  const TestContext context;
  const int threads = omp_get_max_threads();
  for (const Case& c : {Case{3000, 5, 4, 2, 32}, Case{6, 70, 4, 2, 20, 15}}) {
    Attention a(context, c, GetParam());
    omp_set_num_threads(1);
    a.Forward();
    a.Backward();
    Attention b(context, c, GetParam());
    omp_set_num_threads(3);
    b.Forward();
    b.Backward();
    omp_set_num_threads(threads);
    EXPECT_EQ(Bytes(a.out, 0, c.rows()), Bytes(b.out, 0, c.rows())) << c;
    EXPECT_EQ(Bytes(a.gradient, 0, c.rows()), Bytes(b.gradient, 0, c.rows())) << c;

    const int64_t last = c.batch - 1, row = last * c.length;  // the last sequence alone
    AttentionShape shape = a.shape;
    shape.batch = 1;
    if (shape.first_key.defined()) shape.first_key = shape.first_key.Rows(row, c.rows());
    const Tensor own = a.qkv.Rows(row, c.rows());
    const Tensor out = context.get().Empty({c.length, c.q_columns()}, GetParam());
    ops::AttentionForward(context, a.Q(own), a.K(own), a.V(own), shape, out, {});
    EXPECT_EQ(Bytes(out, 0, c.length), Bytes(a.out, row, c.rows())) << c;
  }
}

TEST_P(EveryDType, CachedEqualsFullForward) {
  const TestContext context;
  for (const Case& c : {Case{1, 150, 4, 2, 52}, Case{1, 5, 2, 2, 64}, Case{1, 90, 5, 2, 12}, Case{1, 33, 7, 1, 16}}) {
    Attention a(context, c, GetParam());
    a.Forward();
    // The cache is a column range of a wider buffer, with garbage behind its last row.
    const int64_t capacity = c.length + 3;
    const Tensor cache = context.get().Empty({capacity, a.qkv.dim(1)}, GetParam());
    std::memcpy(cache.raw(), a.qkv.raw(), a.qkv.bytes());
    FillRows(cache, c.length, capacity, std::numeric_limits<double>::quiet_NaN());
    const int64_t cut = c.length / 2;
    // Two parts of the prompt, then single steps: all as views of one call, in a scrambled order of rows.
    std::vector<ops::CacheView> views = {
        {.row = 0, .rows = cut, .length = cut, .keys = a.K(cache), .values = a.V(cache)}};
    for (int64_t i = c.length - 1; i > cut; --i) views.push_back({i, 1, i + 1, a.K(cache), a.V(cache)});
    views.push_back({cut, 1, cut + 1, a.K(cache), a.V(cache)});
    const Tensor out = context.get().Empty({c.length, c.q_columns()}, GetParam());
    ops::CachedAttention(context, a.Q(a.qkv), views, a.shape, out);
    const Reference r = Define(a);
    ExpectNear(ToDoubles(context, out), r.out, BoundsOf(a, r).out, c.Name());
    const Tensor late = context.get().Empty({c.length, c.q_columns()}, GetParam());
    ops::CachedAttention(
        context, a.Q(a.qkv),
        {{.row = cut, .rows = c.length - cut, .length = c.length, .keys = a.K(cache), .values = a.V(cache)}}, a.shape,
        late);
    EXPECT_EQ(Bytes(late, cut, c.length), Bytes(out, cut, c.length)) << "steps differ from one longer call, " << c;
    if (c.length > 16) {
      EXPECT_EQ(Bytes(a.out, 0, c.length), Bytes(out, 0, c.length)) << "cached differs from full, " << c;
    }
  }
}

// Scores of a few hundred, which overflow exp without the maximum.
TEST(Attention, LargeScores) {
  const TestContext context;
  for (const int64_t length : {5, 40}) {
    Attention a(context, {2, length, 2, 2, 64}, DType::kF32);
    for (int64_t i = 0; i < a.qkv.elements(); ++i) a.qkv.data<float>()[i] *= 6;
    a.Forward();
    const Reference r = Define(a);
    ExpectNear(ToDoubles(context, a.out), r.out, BoundsOf(a, r).out, "out");
    EXPECT_GT(Largest(r.lse), 100);
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
    ExpectGradient(context, a.qkv, qkv.slot->gradient(), loss, c.Name());
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
  EXPECT_EQ(Bytes(a.qkv, 0, c.rows()), Bytes(rotated, 0, c.rows()));
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
  a.lse = {};
  EXPECT_EXIT(a.Backward(), ::testing::ExitedWithCode(1), "\\[attention_backward\\].*lse undefined tensor");
  const ops::CacheView beyond = {.row = 9, .rows = 2, .length = 5, .keys = a.K(a.qkv), .values = a.V(a.qkv)};
  EXPECT_EXIT(ops::CachedAttention(context, a.Q(a.qkv), {beyond}, a.shape, a.out), ::testing::ExitedWithCode(1),
              "\\[cached_attention\\] rows 9 \\+ 2 of q f32\\[10, 32\\]");
  a.shape.first_key = IntTensor(context, {0, 0, 0, 0, 0, 0, 2, 0, 0, 0});
  EXPECT_EXIT(a.Forward(), ::testing::ExitedWithCode(1), "first_key 2 of row 1 of sequence 1");
}

}  // namespace
}  // namespace photon
