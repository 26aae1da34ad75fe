// Attention inside windows of up to 16 rows: every length, around the borders of what a GPU computes at once, at every
// alignment, beside neighbours that it must neither read nor write.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/ops/attention.h"
#include "tests/core/attention_reference.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::Attention;
using testing::AttentionCase;
using testing::Bytes;
using testing::Doubles;
using testing::ExpectDefinition;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::TestContext;
using testing::ToDoubles;

constexpr int64_t kLongest = 16;

class WindowAttention : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, WindowAttention, ::testing::Values(DType::kF64, DType::kF32, DType::kBF16));

// Every length with every width (of bf16, which has kernels of its own), the other choices in turn: of batches, around
// a tile of 16 rows filled with windows; of groups of heads; of documents inside windows.
TEST_P(WindowAttention, MatchesTheDefinition) {
  const TestContext context;
  std::vector<int64_t> head_dims = {60, 17};
  if (GetParam() == DType::kBF16) head_dims = {52, 56, 60, 64, 128, 3, 17, 80};
  const std::vector<std::pair<int, int>> heads = {{2, 2}, {4, 2}, {3, 1}, {1, 1}, {3, 2}};
  int turn = 0;
  for (int64_t length = 1; length <= kLongest; ++length) {
    const int64_t whole = kLongest / length;  // windows of a tile
    const std::vector<int64_t> batches = {whole, whole + 1, 2 * whole - 1, 1};
    for (const int64_t head_dim : head_dims) {
      const auto [h, kv] = heads[turn % heads.size()];
      const int64_t document = turn % 3 == 2 ? 1 + turn % length : 0;
      Attention a(context, {std::max<int64_t>(1, batches[turn % batches.size()]), length, h, kv, head_dim, document},
                  GetParam());
      a.Forward();
      a.Backward();
      ExpectDefinition(a);
      ++turn;
      if (HasFailure()) return;
    }
  }
}

TEST_P(WindowAttention, SameBitsInEveryOrderOfThreads) {
  for (const AttentionCase& c : {AttentionCase{7, 5, 2, 2, 64}, AttentionCase{5, 4, 4, 2, 52, 3}}) {
    InEveryOrder([&] {
      const TestContext context;
      Attention a(context, c, GetParam());
      a.Forward();
      a.Backward();
      Doubles all = ToDoubles(context, a.out);
      const Doubles gradient = ToDoubles(context, a.gradient);
      all.insert(all.end(), gradient.begin(), gradient.end());
      return all;
    });
  }
}

TEST_P(WindowAttention, LogSumExpMayBeLeftOut) {
  const TestContext context;
  for (const int64_t head_dim : {5, 64}) {
    Attention a(context, {4, 5, 2, 2, head_dim}, GetParam());
    a.Forward();
    const Doubles with = ToDoubles(context, a.out);
    a.lse = {};
    a.Forward();
    EXPECT_EQ(ToDoubles(context, a.out), with);
  }
}

// A block of a poisoned buffer: `block` rows and columns in, with `margin` more columns before and twice that behind,
// two rows before and 20 (more than a tile) behind.
class Framed {
 public:
  Framed(const Context& context, const Tensor& block, int64_t margin)
      : context_(context), rows_(block.dim(0)), columns_(block.dim(1)), margin_(margin) {
    constexpr double kPoison = std::numeric_limits<double>::quiet_NaN();
    const Doubles inside = ToDoubles(context, block);
    Doubles all((rows_ + kBefore + kBehind) * Width(), kPoison);
    for (int64_t i = 0; i < rows_; ++i) std::copy_n(&inside[i * columns_], columns_, &all[Index(i)]);
    buffer_ = FromDoubles(context, all, {rows_ + kBefore + kBehind, Width()}, block.dtype());
    before_ = AllBytes();
  }
  Tensor block() const { return buffer_.Rows(kBefore, kBefore + rows_).Columns(margin_, margin_ + columns_); }
  void ExpectFrameUntouched(const std::string& what) const {
    std::string now = AllBytes(), before = before_;
    const size_t size = ByteSize(buffer_.dtype());
    for (int64_t i = 0; i < rows_; ++i) {
      now.replace(Index(i) * size, columns_ * size, columns_ * size, '\0');
      before.replace(Index(i) * size, columns_ * size, columns_ * size, '\0');
    }
    EXPECT_EQ(now, before) << what << " was written outside of its rows and columns";
  }

 private:
  static constexpr int64_t kBefore = 2, kBehind = 20;
  std::string AllBytes() const { return Bytes(context_, buffer_, 0, buffer_.dim(0)); }
  int64_t Width() const { return columns_ + 3 * margin_; }
  int64_t Index(int64_t row) const { return (kBefore + row) * Width() + margin_; }
  const Context& context_;
  int64_t rows_, columns_, margin_;
  Tensor buffer_;
  std::string before_;
};

// Margins of 8, 4 and 1 elements: rows at multiples of 16, 8 and 2 bytes in bf16.
TEST_P(WindowAttention, ReadsAndWritesItsRowsAndColumnsAlone) {
  const TestContext context;
  for (const int64_t margin : {8, 4, 1}) {
    for (const AttentionCase& c :
         {AttentionCase{4, 5, 2, 2, 64}, AttentionCase{1, 2, 2, 2, 52}, AttentionCase{3, 7, 4, 2, 128}}) {
      Attention a(context, c, GetParam());
      const Framed qkv(context, a.qkv, margin), dout(context, a.dout, margin), out(context, a.out, margin);
      const Framed lse(context, a.lse, margin), gradient(context, a.gradient, margin);
      a.qkv = qkv.block();
      a.dout = dout.block();
      a.out = out.block();
      a.lse = lse.block();
      a.gradient = gradient.block();
      a.Forward();
      a.Backward();
      ExpectDefinition(a);
      out.ExpectFrameUntouched("out");
      lse.ExpectFrameUntouched("lse");
      gradient.ExpectFrameUntouched("gradient");
    }
  }
}

// One window between others, all huge: it has the bits it has between small ones, forward and backward.
TEST_P(WindowAttention, WindowsDoNotTouchEachOther) {
  const TestContext context;
  for (const AttentionCase& c : {AttentionCase{7, 5, 2, 2, 64}, AttentionCase{9, 2, 4, 2, 52},
                                 AttentionCase{5, 8, 2, 2, 128}, AttentionCase{5, 3, 2, 1, 17}}) {
    Attention a(context, c, GetParam());
    a.Forward();
    a.Backward();
    for (const int64_t window : {int64_t{0}, c.batch / 2, c.batch - 1}) {
      const int64_t begin = window * c.length, end = begin + c.length;
      const auto drowned = [&](const Tensor& t) {
        Doubles values = ToDoubles(context, t);
        const int64_t width = t.dim(1);
        for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) {
          if (i / width < begin || i / width >= end) values[i] *= 1e30;
        }
        return FromDoubles(context, values, t.shape(), t.dtype());
      };
      Attention b(context, c, GetParam());
      b.qkv = drowned(a.qkv);
      b.dout = drowned(a.dout);
      b.Forward();
      b.Backward();
      for (const auto& [x, y] : {std::pair(a.out, b.out), std::pair(a.gradient, b.gradient)}) {
        EXPECT_EQ(Bytes(context, x, begin, end), Bytes(context, y, begin, end)) << c << " window " << window;
      }
    }
  }
}

}  // namespace
}  // namespace photon
