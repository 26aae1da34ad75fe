#include "core/ops/rows.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/random.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectGradient;
using testing::ExpectNear;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::IntTensor;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;
using testing::WeightedSum;

constexpr DType kFloats[] = {DType::kF64, DType::kF32, DType::kBF16};

// Picks of rows of a ([0, rows_a)) and of b ([-rows_b, 0)), with repeats.
std::vector<int32_t> RandomIndex(int64_t n, int64_t rows_a, int64_t rows_b, uint64_t seed) {
  const Philox philox(seed, 0);
  std::vector<int32_t> index;
  for (int64_t i = 0; i < n; ++i) index.push_back(philox.Block(i)[0] % (rows_a + rows_b) - rows_b);
  return index;
}

struct Case {
  int64_t n, rows_a, rows_b, width;
  bool strided;
};
constexpr Case kCases[] = {{1, 1, 0, 1, false},   {3, 17, 2, 5, false},       {65, 4, 1, 17, true},
                           {0, 3, 1, 4, false},   {33, 7, 3, 128, true},      {700, 50, 1, 96, false},
                           {500, 1, 1, 65, true}, {300, 2000, 0, 160, false}, {40, 9, 2, 64, true},
                           {5000, 3, 1, 4, false}};

Tensor Table(const Context& context, int64_t rows, int64_t width, DType dtype, uint64_t seed, bool strided) {
  const int64_t margin = strided ? 3 : 0;
  return RandomTensor(context, {rows, width + 2 * margin}, dtype, seed).Columns(margin, margin + width);
}

TEST(SelectRows, CopiesExactly) {
  const TestContext context;
  for (const DType dtype : kFloats) {
    for (const Case& c : kCases) {
      const Tensor a = Table(context, c.rows_a, c.width, dtype, 1, c.strided);
      const Tensor b = c.rows_b > 0 ? Table(context, c.rows_b, c.width, dtype, 2, c.strided) : Tensor();
      const std::vector<int32_t> index = RandomIndex(c.n, c.rows_a, c.rows_b, 3);
      const Tensor out = Table(context, c.n, c.width, dtype, 4, c.strided);
      ops::SelectRows(context, a, b, IntTensor(context, index), out);
      const std::vector<double> of_a = ToDoubles(context, a), got = ToDoubles(context, out);
      const std::vector<double> of_b = b.defined() ? ToDoubles(context, b) : std::vector<double>();
      for (int64_t i = 0; i < c.n; ++i) {
        const double* row = index[i] >= 0 ? &of_a[index[i] * c.width] : &of_b[(-1 - index[i]) * c.width];
        ASSERT_TRUE(std::equal(row, row + c.width, &got[i * c.width])) << a.ToString() << " row " << i;
      }
    }
  }
}

// Adds to one table what the reference adds; returns the bound: a rounding per addition, each of at most the sum of
// absolute terms.
void CheckGradientTable(const Context& context, const std::vector<double>& before, const Tensor& dout,
                        const std::vector<int32_t>& index, bool second, const Tensor& got) {
  const int64_t width = dout.dim(1);
  const std::vector<double> terms = ToDoubles(context, dout);
  std::vector<double> want = before, magnitude;
  for (double value : before) magnitude.push_back(std::abs(value));
  std::vector<int64_t> additions(got.dim(0));
  double largest = 0;
  for (size_t i = 0; i < index.size(); ++i) {
    const int64_t row = second ? -1 - index[i] : index[i];
    if (row < 0) continue;
    ++additions[row];
    for (int64_t j = 0; j < width; ++j) {
      want[row * width + j] += terms[i * width + j];
      largest = std::max(largest, magnitude[row * width + j] += std::abs(terms[i * width + j]));
    }
  }
  const int64_t most = *std::max_element(additions.begin(), additions.end());
  // Each addition rounds to the accumulate type and then to the table's.
  ExpectNear(ToDoubles(context, got), want, 2.02 * most * UnitRoundoff(got.dtype()) * largest,
             absl::StrCat(dout.ToString(), " into ", got.ToString()));
}

TEST(SelectRowsGradient, AddsToBothTables) {
  const TestContext context;
  const std::pair<DType, DType> types[] = {{DType::kF64, DType::kF64},   {DType::kF32, DType::kF32},
                                           {DType::kBF16, DType::kBF16}, {DType::kBF16, DType::kF32},
                                           {DType::kF32, DType::kF64},   {DType::kF64, DType::kF32}};
  for (const auto& [in_type, table_type] : types) {
    for (const Case& c : kCases) {
      const Tensor dout = Table(context, c.n, c.width, in_type, 1, c.strided);
      const std::vector<int32_t> index = RandomIndex(c.n, c.rows_a, c.rows_b, 3);
      const Tensor da = Table(context, c.rows_a, c.width, table_type, 4, c.strided);
      const Tensor db = c.rows_b > 0 ? Table(context, c.rows_b, c.width, table_type, 5, c.strided) : Tensor();
      const std::vector<double> a_before = ToDoubles(context, da);
      const std::vector<double> b_before = db.defined() ? ToDoubles(context, db) : std::vector<double>();
      ops::SelectRowsGradient(context, dout, IntTensor(context, index), da, db);
      CheckGradientTable(context, a_before, dout, index, false, da);
      if (db.defined()) CheckGradientTable(context, b_before, dout, index, true, db);
    }
  }
}

// An index that a device can only sort piece by piece, and rows that hold long runs of it: one takes a third, like a
// frequent token, another comes once in a hundred, and most come once or never.
TEST(SelectRowsGradient, ManyRowsIntoABigTable) {
  const TestContext context;
  constexpr int64_t kRows = 140'000, kTable = 70'000, kWidth = 2;
  std::vector<int32_t> index = RandomIndex(kRows, kTable, 0, 5);
  for (int64_t i = 0; i < kRows; ++i) {
    if (i % 3 == 0) index[i] = 77;
    if (i % 100 == 1) index[i] = -1;
  }
  const Tensor dout = RandomTensor(context, {kRows, kWidth}, DType::kF32, 6);
  const Tensor da = RandomTensor(context, {kTable, kWidth}, DType::kF32, 7);
  const Tensor db = RandomTensor(context, {1, kWidth}, DType::kF32, 8);
  const std::vector<double> a_before = ToDoubles(context, da), b_before = ToDoubles(context, db);
  ops::SelectRowsGradient(context, dout, IntTensor(context, index), da, db);
  CheckGradientTable(context, a_before, dout, index, false, da);
  CheckGradientTable(context, b_before, dout, index, true, db);
}

// A table of which no gradient is wanted, a table without rows, and tables of two types.
TEST(SelectRowsGradient, SkipsWhatIsNotWanted) {
  const TestContext context;
  const std::vector<int32_t> index = {1, -1, 0, -2, 1, -1};
  const Tensor dout = RandomTensor(context, {6, 5}, DType::kBF16, 1), indices = IntTensor(context, index);
  const Tensor a = RandomTensor(context, {2, 5}, DType::kF32, 2), b = RandomTensor(context, {2, 5}, DType::kBF16, 3);
  const std::vector<double> a_before = ToDoubles(context, a), b_before = ToDoubles(context, b);
  ops::SelectRowsGradient(context, dout, indices, a, Tensor());
  CheckGradientTable(context, a_before, dout, index, false, a);
  const std::vector<double> a_after = ToDoubles(context, a);
  ops::SelectRowsGradient(context, dout, indices, Tensor(), b);
  CheckGradientTable(context, b_before, dout, index, true, b);
  const std::vector<double> b_after = ToDoubles(context, b);
  ops::SelectRowsGradient(context, dout, indices, a, b);
  CheckGradientTable(context, a_after, dout, index, false, a);
  CheckGradientTable(context, b_after, dout, index, true, b);
  ops::SelectRowsGradient(context, dout, IntTensor(context, {-1, -1, -2, -2, -1, -1}),
                          context.get().Empty({0, 5}, DType::kF32), b);
}

TEST(SelectRowsGradient, NoOrderOfThreadsChangesABit) {
  const TestContext context;
  const std::vector<int32_t> index = RandomIndex(2500, 1500, 2, 1);
  for (const int64_t width : {6, 8}) {
    const Tensor dout = RandomTensor(context, {2500, width}, DType::kBF16, 2);
    InEveryOrder([&] {
      const Tensor da = context.get().Zeros({1500, width}, DType::kF32),
                   out = context.get().Zeros({2500, width}, DType::kF32);
      const Tensor db = context.get().Zeros({2, width}, DType::kF32);
      ops::SelectRowsGradient(context, dout, IntTensor(context, index), da, db);
      ops::SelectRows(context, da, db, IntTensor(context, index), out);
      return ToDoubles(context, out);
    });
  }
}

TEST(SelectRowsGradient, ThreadsDoNotChangeABit) {
  const TestContext context;
  const std::vector<int32_t> index = RandomIndex(3000, 11, 2, 1);
  const Tensor dout = RandomTensor(context, {3000, 97}, DType::kF32, 2);
  const int before = omp_get_max_threads();
  std::vector<double> first;
  for (const int threads : {1, 2, 3, 7}) {
    omp_set_num_threads(threads);
    const Tensor da = context.get().Zeros({11, 97}, DType::kF32), db = context.get().Zeros({2, 97}, DType::kF32);
    ops::SelectRowsGradient(context, dout, IntTensor(context, index), da, db);
    std::vector<double> got = ToDoubles(context, da);
    for (double value : ToDoubles(context, db)) got.push_back(value);
    if (first.empty()) first = got;
    EXPECT_EQ(got, first) << threads << " threads";
  }
  omp_set_num_threads(before);
}

class RowsVars : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto spec = [](const char* name, Shape shape) {
      ParameterSpec s;
      s.name = name;
      s.shape = std::move(shape);
      s.init = {.mean = 0, .stddev = 1};
      return s;
    };
    table_ = set_.Add({spec("embedding", {6, 5})});
    start_ = set_.Add({spec("start", {5})});
    set_.Allocate(context_, {.master = DType::kF64, .compute = DType::kF64, .gradients = true, .at = {}});
    set_.Initialize(context_, 1);
  }

  // The gradient arrives under another shape.
  void Seed(const Var& y, const Tensor& seed) { y.slot->Accumulate(context_, seed.Reshape({seed.elements()})); }

  const TestContext context_;
  ParameterSet set_;
  const Weight* table_ = nullptr;
  const Weight* start_ = nullptr;
};

TEST_F(RowsVars, SelectRowsGradients) {
  const Tensor a = RandomTensor(context_, {4, 5}, DType::kF64, 1), b = RandomTensor(context_, {2, 5}, DType::kF64, 2);
  const Tensor index = IntTensor(context_, {3, -1, 0, 0, -2, -1, 1});  // row 2 of a is not taken: gradient 0
  const Tensor seed = RandomTensor(context_, {7, 5}, DType::kF64, 3);
  const auto loss = [&] {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return WeightedSum(context_, ops::SelectRows(tape, Var(a), Var(b), index).value, seed);
  };
  Tape tape(context_, Tape::Mode::kRecord);
  const Var a_leaf = tape.Leaf(a), b_leaf = tape.Leaf(b);
  Seed(ops::SelectRows(tape, a_leaf, b_leaf, index), seed);
  tape.Backward();
  ExpectGradient(context_, a, a_leaf.slot->gradient(), loss, "a");
  ExpectGradient(context_, b, b_leaf.slot->gradient(), loss, "b");
}

TEST_F(RowsVars, OneTableOnly) {
  const Tensor a = RandomTensor(context_, {4, 5}, DType::kF64, 1);
  Tape tape(context_, Tape::Mode::kRecord);
  const Var leaf = tape.Leaf(a);
  const Var y = ops::SelectRows(tape, leaf, Var(), IntTensor(context_, {2, 2}));
  Seed(y, FromDoubles(context_, std::vector<double>(10, 1.0), {2, 5}, DType::kF64));
  tape.Backward();
  std::vector<double> want(20, 0.0);
  std::fill(want.begin() + 10, want.begin() + 15, 2.0);
  EXPECT_EQ(ToDoubles(context_, leaf.slot->gradient()), want);
}

TEST_F(RowsVars, LookupGradients) {
  const Tensor index = IntTensor(context_, {5, 0, 5, 3});
  const Tensor seed = RandomTensor(context_, {4, 5}, DType::kF64, 3);
  const auto loss = [&] {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return WeightedSum(context_, ops::Lookup(tape, *table_, index).value, seed);
  };
  Tape tape(context_, Tape::Mode::kRecord);
  Seed(ops::Lookup(tape, *table_, index), seed);
  tape.Backward();
  ExpectGradient(context_, table_->master, table_->gradient, loss, "table");
}

TEST_F(RowsVars, LookupPartGivesZerosForOtherRanksRows) {
  const Tensor index = IntTensor(context_, {-1, 5, 0, -1, 5, 3, -1});
  const Tensor seed = RandomTensor(context_, {7, 5}, DType::kF64, 3);
  const auto lookup = [&](Tape& tape) { return ops::LookupPart(tape, *table_, index); };
  const auto loss = [&] {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return WeightedSum(context_, lookup(tape).value, seed);
  };
  Tape tape(context_, Tape::Mode::kRecord);
  const Var y = lookup(tape);
  const std::vector<double> got = ToDoubles(context_, y.value), table = ToDoubles(context_, table_->master);
  for (const auto& [row, from] : {std::pair(0, -1), {1, 5}, {2, 0}, {3, -1}, {4, 5}, {5, 3}, {6, -1}}) {
    for (int j = 0; j < 5; ++j) EXPECT_EQ(got[row * 5 + j], from < 0 ? 0 : table[from * 5 + j]) << "row " << row;
  }
  Seed(y, seed);
  tape.BackwardInputs();
  EXPECT_EQ(ToDoubles(context_, table_->gradient), std::vector<double>(30, 0.0)) << "weight gradients were put off";
  tape.BackwardWeights();
  ExpectGradient(context_, table_->master, table_->gradient, loss, "table");
}

// Two ranks' parts of one table, one of which has no row that is asked for.
TEST_F(RowsVars, PartsAddUpToTheWholeLookup) {
  const std::vector<int32_t> ids = {3, 0, 5, 3, 4};
  const Tensor seed = RandomTensor(context_, {5, 5}, DType::kF64, 3);
  Tape whole(context_, Tape::Mode::kRecord);
  const Var want = ops::Lookup(whole, *table_, IntTensor(context_, ids));
  Seed(want, seed);
  whole.Backward();
  std::vector<double> sum(25), gradient;
  int32_t begin = 0;
  for (const int32_t end : {1, 2, 6}) {
    Weight part = *table_;
    part.master = table_->master.Rows(begin, end);
    part.gradient = context_.get().Zeros({end - begin, 5}, DType::kF64);
    std::vector<int32_t> own;
    for (const int32_t id : ids) own.push_back(begin <= id && id < end ? id - begin : -1);
    Tape tape(context_, Tape::Mode::kRecord);
    const Var y = ops::LookupPart(tape, part, IntTensor(context_, own));
    const std::vector<double> got = ToDoubles(context_, y.value);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += got[i];
    Seed(y, seed);
    tape.Backward();
    for (const double g : ToDoubles(context_, part.gradient)) gradient.push_back(g);
    begin = end;
  }
  EXPECT_EQ(sum, ToDoubles(context_, want.value));
  EXPECT_EQ(gradient, ToDoubles(context_, table_->gradient));
}

TEST_F(RowsVars, SelectOrStartGradients) {
  const Tensor x = RandomTensor(context_, {3, 5}, DType::kF64, 1);
  const Tensor index = IntTensor(context_, {-1, 0, 1, -1});
  const Tensor seed = RandomTensor(context_, {4, 5}, DType::kF64, 3);
  const auto loss = [&] {
    Tape tape(context_, Tape::Mode::kEvaluate);
    return WeightedSum(context_, ops::SelectOrStart(tape, Var(x), *start_, index).value, seed);
  };
  Tape tape(context_, Tape::Mode::kRecord);
  const Var leaf = tape.Leaf(x);
  Seed(ops::SelectOrStart(tape, leaf, *start_, index), seed);
  tape.BackwardInputs();
  EXPECT_EQ(ToDoubles(context_, start_->gradient), std::vector<double>(5, 0.0)) << "weight gradients were put off";
  tape.BackwardWeights();
  ExpectGradient(context_, x, leaf.slot->gradient(), loss, "x");
  ExpectGradient(context_, start_->master, start_->gradient, loss, "start");
}

TEST(RowsDeathTest, RefusesWhatDoesNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TestContext context;
  const Tensor a = context.get().Empty({2, 3}, DType::kF32), out = context.get().Empty({4, 3}, DType::kF32);
  const auto exits = ::testing::ExitedWithCode(1);
  EXPECT_EXIT(ops::SelectRows(context, a, Tensor(), IntTensor(context, {0, 1}), out), exits,
              "\\[select_rows\\].*i32\\[2\\].*f32\\[4, 3\\]");
  EXPECT_EXIT(ops::SelectRowsGradient(context, out, IntTensor(context, {0, 1, 0, 1}),
                                      context.get().Empty({2, 3}, DType::kBF16), Tensor()),
              exits, "\\[select_rows_gradient\\].*bf16\\[2, 3\\]");
}

}  // namespace
}  // namespace photon
