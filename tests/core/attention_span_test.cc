// Rows against more keys than their own: a part of each sequence, as a rank of a group that shares sequences has it,
// against the whole.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "core/ops/attention.h"
#include "tests/core/attention_reference.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::Attention;
using testing::AttentionCase;
using testing::Bytes;
using testing::Define;
using testing::Doubles;
using testing::Expected;
using testing::ExpectWithin;
using testing::FillRows;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::IntTensor;
using testing::Reference;
using testing::TestContext;
using testing::ToDoubles;

struct Range {
  int64_t begin, end;
};

// Positions [range) of each of the whole's sequences, and its keys up to `keys` (0: all).
class Span {
 public:
  Span(const Attention& whole, Range range, int64_t keys = 0)
      : whole_(whole), range_(range), keys_(keys > 0 ? keys : whole.c.length), shape_(whole.shape) {
    const AttentionCase& c = whole.c;
    shape_.length = range.end - range.begin;
    shape_.keys = keys_;
    shape_.offset = range.begin;
    if (whole.shape.first_key.defined()) {
      std::vector<int32_t> first;
      for (int64_t row = 0; row < c.batch * shape_.length; ++row) {
        first.push_back(FirstKey(c, row / shape_.length, range.begin + row % shape_.length));
      }
      shape_.first_key = IntTensor(whole.context, std::move(first));
    }
    kv_ = OfSequences(whole.qkv.Columns(c.q_columns(), whole.qkv.dim(1)), {0, keys_});
    q_ = OfSequences(whole.Q(whole.qkv), range);
    dout_ = OfSequences(whole.dout, range);
    out_ = whole.context.Empty(q_.shape(), whole.dtype);
    lse_ = whole.context.Empty({c.heads, q_.dim(0)}, whole.lse.dtype());
    dq_ = whole.context.Empty(q_.shape(), whole.dtype);
    dkv_ = whole.context.Empty(kv_.shape(), whole.dtype);
  }

  void Forward() { ops::AttentionForward(whole_.context, q_, K(kv_), V(kv_), shape_, out_, lse_); }
  void Backward() {
    ops::AttentionBackward(whole_.context, dout_, q_, K(kv_), V(kv_), out_, lse_, shape_, dq_, K(dkv_), V(dkv_));
  }
  std::string Name() const {
    return whole_.c.Name() + ", positions " + std::to_string(range_.begin) + " .. " + std::to_string(range_.end - 1) +
           " against " + std::to_string(keys_) + " keys";
  }

  // Bytes of positions [range) in each sequence of a tensor of the whole, and in that of the span.
  void ExpectSameBits() const {
    const int64_t rows = shape_.length;
    for (int64_t s = 0; s < whole_.c.batch; ++s) {
      const int64_t row = s * whole_.c.length + range_.begin;
      EXPECT_EQ(Bytes(whole_.context, out_, s * rows, (s + 1) * rows),
                Bytes(whole_.context, whole_.out, row, row + rows))
          << Name() << ", sequence " << s;
      EXPECT_EQ(Bytes(whole_.context, lse_.Columns(s * rows, (s + 1) * rows), 0, whole_.c.heads),
                Bytes(whole_.context, whole_.lse.Columns(row, row + rows), 0, whole_.c.heads))
          << Name() << ", sequence " << s;
    }
  }
  void ExpectDefinition() const {
    const Reference r = Define(whole_, range_.begin, range_.end);
    const AttentionCase& c = whole_.c;
    ExpectWithin(ToDoubles(whole_.context, out_), Cut(r.out, c.q_columns(), range_), "out of " + Name());
    ExpectWithin(ToDoubles(whole_.context, dq_), Cut(r.dq, c.q_columns(), range_), "dq of " + Name());
    ExpectWithin(ToDoubles(whole_.context, K(dkv_)), Cut(r.dk, c.kv_columns(), {0, keys_}), "dk of " + Name());
    ExpectWithin(ToDoubles(whole_.context, V(dkv_)), Cut(r.dv, c.kv_columns(), {0, keys_}), "dv of " + Name());
    Doubles lse;  // rows first, as positions of a sequence are cut
    for (int64_t row = 0; row < lse_.dim(1); ++row) {
      for (const double x : ToDoubles(whole_.context, lse_.Columns(row, row + 1))) lse.push_back(x);
    }
    Expected want(r.lse.value.size());
    for (size_t i = 0; i < r.lse.value.size(); ++i) {
      const size_t at = i % c.rows() * c.heads + i / c.rows();
      want.value[at] = r.lse.value[i];
      want.bound[at] = r.lse.bound[i];
    }
    ExpectWithin(lse, Cut(want, c.heads, range_), "lse of " + Name());
  }

  // Keys that nobody may see: those behind the last row.
  void FillUnseen(double value) const {
    for (int64_t s = 0; s < whole_.c.batch; ++s) {
      FillRows(whole_.context, kv_, s * keys_ + range_.end, (s + 1) * keys_, value);
    }
  }
  Doubles Results() const {
    Doubles all;
    for (const Tensor& t : {out_, lse_, dq_, dkv_}) {
      const Doubles more = ToDoubles(whole_.context, t);
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }
  Tensor dk() const { return K(dkv_); }
  Tensor dv() const { return V(dkv_); }

 private:
  Tensor K(const Tensor& t) const { return t.Columns(0, whole_.c.kv_columns()); }
  Tensor V(const Tensor& t) const { return t.Columns(whole_.c.kv_columns(), t.dim(1)); }
  // Those rows of each sequence, as rows of their own.
  Tensor OfSequences(const Tensor& t, Range range) const {
    const Doubles all = ToDoubles(whole_.context, t);
    const int64_t width = t.dim(1), length = whole_.c.length;
    Doubles cut;
    for (int64_t s = 0; s < whole_.c.batch; ++s) {
      cut.insert(cut.end(), &all[(s * length + range.begin) * width], &all[(s * length + range.end) * width]);
    }
    const int64_t rows = whole_.c.batch * (range.end - range.begin);
    return FromDoubles(whole_.context, cut, {rows, width}, t.dtype());
  }
  Expected Cut(const Expected& t, int64_t width, Range range) const {
    Expected cut(0);
    for (int64_t s = 0; s < whole_.c.batch; ++s) {
      const int64_t begin = (s * whole_.c.length + range.begin) * width;
      const int64_t end = (s * whole_.c.length + range.end) * width;
      cut.value.insert(cut.value.end(), &t.value[begin], &t.value[end]);
      cut.bound.insert(cut.bound.end(), &t.bound[begin], &t.bound[end]);
    }
    return cut;
  }

  const Attention& whole_;
  Range range_;
  int64_t keys_;
  ops::AttentionShape shape_;
  Tensor kv_, q_, dout_, out_, lse_, dq_, dkv_;
};

class AttentionSpan : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, AttentionSpan, ::testing::Values(DType::kF64, DType::kF32, DType::kBF16));

struct Cutting {
  AttentionCase whole;
  std::vector<int64_t> borders;
};
std::vector<Range> Ranges(const Cutting& cutting) {
  std::vector<Range> ranges;
  int64_t begin = 0;
  for (const int64_t border : cutting.borders) ranges.push_back({std::exchange(begin, border), border});
  ranges.push_back({begin, cutting.whole.length});
  return ranges;
}

// Spans of one row, shorter and longer than tiles (8, 16, 32, 64, 128), at offsets on and off their borders. Documents
// that begin before a border and reach over it (9, 50, 70, 130), on it (16, 40; of sequence 0), all of one row; none.
// Widths as in attention_test.cc, heads that share keys evenly and not.
const std::vector<Cutting>& Cuttings() {
  static const std::vector<Cutting> cuttings = {
      {{2, 17, 2, 2, 64}, {1}},
      {{3, 18, 4, 2, 6, 5}, {4, 16}},
      {{1, 40, 2, 1, 130, 22}, {7, 20}},
      {{2, 64, 3, 2, 52}, {16, 32, 48}},
      {{2, 65, 2, 1, 128, 20}, {40, 64}},
      {{1, 70, 2, 2, 33}, {10, 11, 69}},
      {{2, 100, 4, 1, 20, 9}, {50}},
      {{2, 128, 2, 2, 56, 16}, {64, 96}},
      {{1, 129, 2, 1, 64, 1}, {65}},
      {{2, 140, 3, 2, 100, 40}, {40, 80}},
      {{1, 200, 2, 2, 128, 70}, {33, 167}},
      {{1, 257, 3, 2, 60, 130}, {128, 192}},
  };
  return cuttings;
}

TEST_P(AttentionSpan, MatchesTheDefinition) {
  const TestContext context;
  for (const Cutting& cutting : Cuttings()) {
    const Attention whole(context, cutting.whole, GetParam());
    for (const Range range : Ranges(cutting)) {
      Span span(whole, range);
      span.Forward();
      span.Backward();
      span.ExpectDefinition();
      if (HasFailure()) return;
    }
  }
}

TEST_P(AttentionSpan, RowsHaveTheBitsOfTheWhole) {
  const TestContext context;
  for (const Cutting& cutting : Cuttings()) {
    Attention whole(context, cutting.whole, GetParam());
    whole.Forward();
    for (const Range range : Ranges(cutting)) {
      Span span(whole, range);
      span.Forward();
      span.ExpectSameBits();
      if (range.end <= 16) continue;  // windows go through other kernels
      Span exact(whole, range, /*keys=*/range.end);
      exact.Forward();
      exact.ExpectSameBits();
      if (HasFailure()) return;
    }
  }
}

// What each rank of a group finds for all keys, added up, is what one rank finds. Within the bounds of all of them.
TEST_P(AttentionSpan, GradientsOfKeysAddUpToTheWholes) {
  const TestContext context;
  for (const Cutting& cutting : {Cuttings()[4], Cuttings()[9], Cuttings()[11]}) {
    Attention whole(context, cutting.whole, GetParam());
    whole.Forward();
    whole.Backward();
    const Reference all = Define(whole);
    Expected dk(all.dk.value.size()), dv(all.dv.value.size());
    dk.bound = all.dk.bound;
    dv.bound = all.dv.bound;
    Doubles sum_dk(dk.value.size()), sum_dv(dv.value.size());
    for (const Range range : Ranges(cutting)) {
      Span span(whole, range);
      span.Forward();
      span.Backward();
      const Reference part = Define(whole, range.begin, range.end);
      const Doubles of_keys = ToDoubles(context, span.dk()), of_values = ToDoubles(context, span.dv());
      for (size_t i = 0; i < of_keys.size(); ++i) {
        sum_dk[i] += of_keys[i];
        sum_dv[i] += of_values[i];
        dk.bound[i] += part.dk.bound[i];
        dv.bound[i] += part.dv.bound[i];
      }
    }
    dk.value = ToDoubles(context, whole.K(whole.gradient));
    dv.value = ToDoubles(context, whole.V(whole.gradient));
    ExpectWithin(sum_dk, dk, "dk of " + cutting.whole.Name());
    ExpectWithin(sum_dv, dv, "dv of " + cutting.whole.Name());
  }
}

// Few rows against few keys: below what windows are given to kernels of their own.
TEST_P(AttentionSpan, ShortSequences) {
  const TestContext context;
  for (const AttentionCase& c : {AttentionCase{5, 2, 2, 2, 64}, AttentionCase{3, 5, 4, 2, 52, 3},
                                 AttentionCase{4, 8, 3, 2, 17}, AttentionCase{2, 16, 2, 1, 128, 7}}) {
    const Attention whole(context, c, GetParam());
    for (int64_t begin = 0; begin < c.length; ++begin) {
      Span span(whole, {begin, std::min(c.length, begin + 1 + begin % 3)});
      span.Forward();
      span.Backward();
      span.ExpectDefinition();
      if (HasFailure()) return;
    }
  }
}

// Not even a NaN: a rank may keep room for keys that are not there yet.
TEST_P(AttentionSpan, KeysBehindTheLastRowAreNotRead) {
  const TestContext context;
  for (const auto& [c, range] : {std::pair(AttentionCase{2, 100, 2, 1, 52}, Range{10, 37}),
                                 std::pair(AttentionCase{2, 150, 2, 2, 128, 40}, Range{0, 64}),
                                 std::pair(AttentionCase{1, 70, 2, 1, 130}, Range{3, 4})}) {
    const Attention whole(context, c, GetParam());
    Span clean(whole, range), dirty(whole, range);
    dirty.FillUnseen(std::numeric_limits<double>::quiet_NaN());
    for (Span* span : {&clean, &dirty}) {
      span->Forward();
      span->Backward();
    }
    EXPECT_EQ(clean.Results(), dirty.Results()) << clean.Name();
  }
}

TEST_P(AttentionSpan, SameBitsInEveryOrderOfThreads) {
  for (const auto& [c, range] : {std::pair(AttentionCase{1, 130, 3, 2, 60, 40}, Range{50, 120}),
                                 std::pair(AttentionCase{2, 40, 2, 1, 128}, Range{3, 20})}) {
    InEveryOrder([&] {
      const TestContext context;
      const Attention whole(context, c, GetParam());
      Span span(whole, range);
      span.Forward();
      span.Backward();
      return span.Results();
    });
  }
}

TEST(AttentionSpanDeathTest, RefusesRowsOutsideOfTheKeys) {
  const TestContext context;
  const Attention a(context, {1, 20, 2, 1, 8}, DType::kF32);
  ops::AttentionShape shape = a.shape;
  shape.length = 5;
  shape.keys = 20;
  shape.offset = 16;
  const Tensor q = a.Q(a.qkv).Rows(0, 5), out = a.out.Rows(0, 5);
  const auto forward = [&] { ops::AttentionForward(context, q, a.K(a.qkv), a.V(a.qkv), shape, out, {}); };
  EXPECT_EXIT(forward(), ::testing::ExitedWithCode(1), "\\[attention_forward\\].*length 5, keys 20, offset 16");
  shape.offset = -1;
  EXPECT_EXIT(forward(), ::testing::ExitedWithCode(1), "\\[attention_forward\\].*offset -1");
  shape.offset = 3;
  shape.keys = 12;  // not the rows that k has
  EXPECT_EXIT(forward(), ::testing::ExitedWithCode(1), "\\[attention_forward\\].*k f32\\[20, 8\\].*keys 12");
  if (!testing::OnCpu()) return;  // other devices do not read first_key before they use it
  shape.keys = 20;
  shape.first_key = IntTensor(context, {0, 4, 4, 7, 7});
  EXPECT_EXIT((shape.offset = 2, forward()), ::testing::ExitedWithCode(1), "first_key 4 of row 1 of sequence 0");
}

}  // namespace
}  // namespace photon
