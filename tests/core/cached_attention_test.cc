#include "core/ops/cached_attention.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <limits>

#include "core/ops/elementwise.h"
#include "core/ops/rope.h"
#include "tests/core/attention_reference.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A cache of two layers, all of it garbage at first. Tests use layer 1.
struct Block {
  Block(const Context& context, int64_t capacity, int64_t width, DType dtype)
      : capacity(capacity), width(width), block(context.Empty({2, 2, capacity, width}, dtype)) {
    FillRows(context, block.Reshape({4 * capacity, width}), 0, 4 * capacity, kNan);
  }
  int64_t capacity, width;
  Tensor block;
};

// Where an element of the cache lies in its block: rows on a GPU; on the CPU as core/cpu/cache_blocks.h describes it.
int64_t At(const Block& b, int layer, int side, int64_t position, int64_t column, int64_t head_dim) {
  const int64_t start = (2 * layer + side) * b.capacity * b.width;
  if (!OnCpu()) return start + position * b.width + column;
  const int64_t begin = position / 64 * 64, j = position - begin, m = std::min<int64_t>(64, b.capacity - begin);
  const int64_t head = column / head_dim, c = column % head_dim, pack = b.block.dtype() == DType::kBF16 ? 2 : 1;
  const int64_t within = side == 0 ? (c / pack * m + j) * pack + c % pack : j * head_dim + c;
  return start + begin * b.width + head * head_dim * m + within;
}

// Positions [begin, end) of one side, as rows.
Doubles Read(const Context& context, const Block& b, int layer, int side, int64_t begin, int64_t end,
             int64_t head_dim) {
  const Doubles all = ToDoubles(context, b.block.Reshape({4 * b.capacity, b.width}));
  Doubles rows;
  for (int64_t position = begin; position < end; ++position) {
    for (int64_t c = 0; c < b.width; ++c) rows.push_back(all[At(b, layer, side, position, c, head_dim)]);
  }
  return rows;
}

ops::CacheTable TableOf(const Context& context, const std::vector<const Block*>& blocks, std::vector<int32_t> lengths,
                        int64_t rows, int64_t longest) {
  std::vector<int64_t> bases, capacities;
  for (const Block* block : blocks) {
    bases.push_back(reinterpret_cast<int64_t>(block->block.raw()));
    capacities.push_back(block->capacity);
  }
  const int64_t n = static_cast<int64_t>(blocks.size());
  return {.bases = context.FromHost(bases.data(), {n}, DType::kI64),
          .capacities = context.FromHost(capacities.data(), {n}, DType::kI64),
          .lengths = IntTensor(context, std::move(lengths)),
          .layer = 1,
          .rows = rows,
          .longest = longest};
}

// Gives an empty cache the keys and values of rows [begin, end), as they are: a rotation by nothing.
void Fill(const Context& context, const Attention& a, int64_t begin, int64_t end, const Block& block) {
  const int64_t rows = end - begin, d = a.c.head_dim;
  Doubles angles(rows * d, 0);
  for (int64_t i = 0; i < rows * d; ++i) angles[i] = i % d < d / 2;
  const Tensor table = FromDoubles(context, angles, {rows, d}, a.dtype == DType::kF64 ? DType::kF64 : DType::kF32);
  ops::AppendToCaches(context, a.qkv.Rows(begin, end), TableOf(context, {&block}, {0}, rows, rows), a.shape, table);
}

class CachedAttention : public ::testing::TestWithParam<DType> {
 protected:
  // The attention of rows [begin, end) of `a` over the cache, as one sequence's new rows.
  Tensor Slice(const Attention& a, const Block& block, int64_t begin, int64_t end, int64_t longest) {
    const Tensor out = context_.get().Empty({end - begin, a.c.q_columns()}, GetParam());
    const auto table = TableOf(context_, {&block}, {static_cast<int32_t>(begin)}, end - begin, longest);
    ops::CachedAttention(context_, a.Q(a.qkv).Rows(begin, end), table, a.shape, out);
    return out;
  }
  std::string BytesOf(const Tensor& t) { return Bytes(context_, t, 0, t.dim(0)); }

  TestContext context_;
};
INSTANTIATE_TEST_SUITE_P(AllTypes, CachedAttention, ::testing::Values(DType::kF64, DType::kF32, DType::kBF16),
                         [](const auto& info) { return std::string(Name(info.param)); });

// Around the borders of blocks of keys (16 to 128 of them, by width), every width of vectors, shared heads; each width
// with as few keys as one warp of a GPU takes, and with more.
TEST_P(CachedAttention, IsItsDefinitionAndTheSameInStepsAndSlices) {
  for (const AttentionCase& c :
       {AttentionCase{1, 150, 4, 2, 52}, AttentionCase{1, 5, 2, 2, 64}, AttentionCase{1, 90, 5, 2, 12},
        AttentionCase{1, 33, 7, 1, 16}, AttentionCase{1, 131, 1, 1, 64}, AttentionCase{1, 66, 2, 2, 56},
        AttentionCase{1, 40, 3, 3, 60}, AttentionCase{1, 70, 2, 1, 128}, AttentionCase{1, 20, 2, 1, 10},
        AttentionCase{1, 9, 1, 1, 130}, AttentionCase{1, 5, 2, 2, 60}, AttentionCase{1, 7, 2, 2, 128},
        AttentionCase{1, 20, 2, 2, 128}, AttentionCase{1, 33, 2, 2, 24}, AttentionCase{1, 7, 1, 1, 100},
        AttentionCase{1, 20, 1, 1, 100}, AttentionCase{1, 7, 1, 1, 136}, AttentionCase{1, 20, 1, 1, 256},
        // More than one of a GPU's blocks of keys; steps of few query rows, slices of more than 16; which one block of
        // threads each has, or all blocks of keys together.
        AttentionCase{1, 200, 7, 1, 64}, AttentionCase{1, 200, 21, 3, 60}, AttentionCase{1, 100, 7, 1, 128},
        AttentionCase{1, 100, 21, 3, 100},
        // More than two of them.
        AttentionCase{1, 400, 21, 3, 60}, AttentionCase{1, 210, 21, 3, 100}}) {
    SCOPED_TRACE(c.Name());
    if (GetParam() == DType::kF64 && c.length > 70) continue;  // whose blocks of keys are small: the emulator's time
    if (GetParam() == DType::kF32 && c.length > 200) continue;
    const Attention a(context_, c, GetParam());
    const Block block(context_, c.length + 3, c.kv_columns(), GetParam());
    Fill(context_, a, 0, c.length, block);
    constexpr int64_t kSteps = 3;
    // One prompt is read whole: more rows than a launch takes.
    const int64_t cut = c.length - kSteps, first = c.heads == 1 ? 0 : std::max<int64_t>(0, cut - 7);
    const Tensor slice = Slice(a, block, cut, c.length, c.length);
    const Tensor prompt = Slice(a, block, first, cut, c.length);
    const Reference r = Define(a);
    Doubles got = ToDoubles(context_, prompt);
    for (const double x : ToDoubles(context_, slice)) got.push_back(x);
    Expected want(0);
    want.value.assign(r.out.value.begin() + first * c.q_columns(), r.out.value.end());
    want.bound.assign(r.out.bound.begin() + first * c.q_columns(), r.out.bound.end());
    ExpectWithin(got, want, "out");
    EXPECT_EQ(BytesOf(Slice(a, block, cut, c.length, 1024)), BytesOf(slice)) << "depends on the bound";

    // Single steps, all in one call, the last first.
    std::vector<int32_t> lengths;
    const Tensor q = context_.get().Empty({kSteps, c.q_columns()}, GetParam()),
                 out = context_.get().Empty(q.shape(), GetParam());
    for (int64_t i = 0; i < kSteps; ++i) {
      lengths.push_back(static_cast<int32_t>(c.length - 1 - i));
      ops::Cast(context_, a.Q(a.qkv).Rows(c.length - 1 - i, c.length - i), q.Rows(i, i + 1));
    }
    const std::vector<const Block*> blocks(kSteps, &block);
    ops::CachedAttention(context_, q, TableOf(context_, blocks, lengths, 1, c.length), a.shape, out);
    for (int64_t i = 0; i < kSteps; ++i) {
      EXPECT_EQ(Bytes(context_, out, i, i + 1), Bytes(context_, slice, kSteps - 1 - i, kSteps - i)) << "step " << i;
    }
    if (context_.get().device().type != DeviceType::kCpu || c.length <= 16) continue;
    Attention full(context_, c, GetParam());
    full.Forward();
    EXPECT_EQ(Bytes(context_, full.out, first, cut), BytesOf(prompt)) << "cached differs from full";
    EXPECT_EQ(Bytes(context_, full.out, cut, c.length), BytesOf(slice)) << "cached differs from full";
  }
}

// One query row of a head and more than 16, of narrow and of wide heads; windows.
TEST_P(CachedAttention, SameBitsInEveryOrderOfThreads) {
  for (const AttentionCase& c : {AttentionCase{1, 140, 2, 2, 52}, AttentionCase{1, 70, 2, 1, 128},
                                 AttentionCase{1, 140, 7, 1, 64}, AttentionCase{1, 12, 3, 3, 64}}) {
    SCOPED_TRACE(c.Name());
    if (GetParam() != DType::kBF16 && c.length > 70) continue;
    InEveryOrder([&] {
      const TestContext context;
      const Attention a(context, c, GetParam());
      const Block block(context, c.length, c.kv_columns(), GetParam());
      Fill(context, a, 0, c.length, block);
      Doubles all;
      for (const int64_t rows : {1, 9}) {
        const Tensor out = context.get().Empty({rows, c.q_columns()}, GetParam());
        const auto table = TableOf(context, {&block}, {static_cast<int32_t>(c.length - rows)}, rows, c.length);
        ops::CachedAttention(context, a.Q(a.qkv).Rows(c.length - rows, c.length), table, a.shape, out);
        const Doubles more = ToDoubles(context, out);
        all.insert(all.end(), more.begin(), more.end());
      }
      return all;
    });
  }
}

// Each sequence with several new rows, beside others and alone.
TEST_P(CachedAttention, SequencesDoNotMix) {
  const AttentionCase c = {3, 45, 4, 2, 64};
  const Attention a(context_, c, GetParam());
  constexpr int64_t kRows = 3;
  const std::vector<int32_t> lengths = {0, 42, 17};
  std::vector<Block> blocks;
  for (int64_t s = 0; s < 3; ++s) {
    blocks.emplace_back(context_, 45 + s, c.kv_columns(), GetParam());
    Fill(context_, a, s * 45, (s + 1) * 45, blocks[s]);
  }
  const Tensor q = a.Q(a.qkv).Rows(0, 3 * kRows), out = context_.get().Empty({3 * kRows, c.q_columns()}, GetParam());
  ops::CachedAttention(context_, q, TableOf(context_, {&blocks[0], &blocks[1], &blocks[2]}, lengths, kRows, 64),
                       a.shape, out);
  for (int64_t s = 0; s < 3; ++s) {
    const Tensor alone = context_.get().Empty({kRows, c.q_columns()}, GetParam());
    ops::CachedAttention(context_, q.Rows(s * kRows, (s + 1) * kRows),
                         TableOf(context_, {&blocks[s]}, {lengths[s]}, kRows, lengths[s] + kRows), a.shape, alone);
    EXPECT_EQ(BytesOf(alone), Bytes(context_, out, s * kRows, (s + 1) * kRows)) << s;
  }
}

// Many heads go together, and are shared out among threads: no bit depends on how.
TEST_P(CachedAttention, ThreadsDoNotMatter) {
  if (!OnCpu()) GTEST_SKIP() << "threads of the CPU";
  const AttentionCase c = {1, 129, 8, 8, 52};
  const Attention a(context_, c, GetParam());
  const Block block(context_, c.length, c.kv_columns(), GetParam());
  Fill(context_, a, 0, c.length, block);
  const int threads = omp_get_max_threads();
  for (const int64_t rows : {1, 2, 3}) {
    omp_set_num_threads(1);
    const std::string want = BytesOf(Slice(a, block, c.length - rows, c.length, c.length));
    for (const int others : {2, 3, 16}) {
      omp_set_num_threads(others);
      EXPECT_EQ(BytesOf(Slice(a, block, c.length - rows, c.length, c.length)) == want, true) << others << " threads";
    }
  }
  omp_set_num_threads(threads);
}

// Keys rotated by their own positions, values as they are, in their places and nowhere else; queries rotated.
TEST_P(CachedAttention, AppendRotatesAndWrites) {
  constexpr int64_t kRows = 2;
  for (const int64_t d : {64, 10, 52}) {
    const ops::AttentionShape shape = {.heads = 4, .kv_heads = 2, .head_dim = d, .first_key = {}};
    const std::vector<int32_t> lengths = {3, 0, 6};
    std::vector<Block> blocks;
    for (int64_t s = 0; s < 3; ++s) blocks.emplace_back(context_, 8 + s, 2 * d, GetParam());
    const Tensor wide = RandomTensor(context_, {3 * kRows, 8 * d + 3}, GetParam(), 5);
    const Tensor qkv = wide.Columns(0, 8 * d), v = qkv.Columns(6 * d, 8 * d);
    const Tensor want =
        FromDoubles(context_, ToDoubles(context_, qkv.Columns(0, 6 * d)), {3 * kRows, 6 * d}, GetParam());
    const Tensor table = ops::RopeTable(context_, 16, d, 100, GetParam() == DType::kF64 ? DType::kF64 : DType::kF32);
    ops::Rope(context_, want, d, IntTensor(context_, {3, 4, 0, 1, 6, 7}), table, /*inverse=*/false);
    ops::AppendToCaches(context_, qkv, TableOf(context_, {&blocks[0], &blocks[1], &blocks[2]}, lengths, kRows, 16),
                        shape, table);
    // Two products of at most 5 and their sum, each rounded once, here and there, in whatever order; then stored.
    const double bound = 2 * (3 * 2 * 5 * UnitRoundoff(GetParam() == DType::kF64 ? DType::kF64 : DType::kF32)) +
                         (GetParam() == DType::kBF16 ? 2 * 7 * UnitRoundoff(DType::kBF16) : 0);
    ExpectNear(ToDoubles(context_, qkv.Columns(0, 4 * d)), ToDoubles(context_, want.Columns(0, 4 * d)), bound, "q");
    for (int64_t s = 0; s < 3; ++s) {
      const int64_t at = lengths[s], row = s * kRows;
      ExpectNear(Read(context_, blocks[s], 1, 0, at, at + kRows, d),
                 ToDoubles(context_, want.Columns(4 * d, 6 * d).Rows(row, row + kRows)), bound, "k");
      EXPECT_EQ(Read(context_, blocks[s], 1, 1, at, at + kRows, d), ToDoubles(context_, v.Rows(row, row + kRows)));
      int64_t written = 0;
      for (const double x : ToDoubles(context_, blocks[s].block.Reshape({4 * blocks[s].capacity, 2 * d}))) {
        written += !std::isnan(x);
      }
      EXPECT_EQ(written, 2 * kRows * 2 * d) << "elements of sequence " << s;
    }
  }
}

// Between blocks whose last ones differ, both ways, and within a block; nothing is written behind the room there is.
TEST_P(CachedAttention, CopiesKeepEveryPosition) {
  constexpr int64_t kHeadDim = 6, kWidth = 2 * kHeadDim;
  struct {
    int64_t from, to, positions;
  } const cases[] = {{70, 128, 70}, {128, 70, 70}, {70, 66, 65}, {5, 64, 3},   {64, 64, 64},
                     {9, 9, 4},     {130, 2, 1},   {1, 64, 1},   {64, 65, 64}, {65, 192, 65}};
  for (const auto& c : cases) {
    SCOPED_TRACE(::testing::Message() << c.positions << " of " << c.from << " to " << c.to);
    Block from(context_, c.from, kWidth, GetParam());
    from.block = RandomTensor(context_, {2, 2, c.from, kWidth}, GetParam(), 3);
    // Between guards, which nothing may touch.
    const Tensor guarded = context_.get().Empty({3 * 4 * c.to, kWidth}, GetParam());
    FillRows(context_, guarded, 0, 3 * 4 * c.to, kNan);
    Block to(context_, c.to, kWidth, GetParam());
    to.block = guarded.Rows(4 * c.to, 8 * c.to).Reshape({2, 2, c.to, kWidth});
    ops::CopyCache(context_, from.block, to.block, c.positions, kHeadDim);
    for (const Tensor& guard : {guarded.Rows(0, 4 * c.to), guarded.Rows(8 * c.to, 12 * c.to)}) {
      for (const double x : ToDoubles(context_, guard)) ASSERT_TRUE(std::isnan(x));
    }
    for (int layer = 0; layer < 2; ++layer) {
      for (int side = 0; side < 2; ++side) {
        EXPECT_EQ(Read(context_, to, layer, side, 0, c.positions, kHeadDim),
                  Read(context_, from, layer, side, 0, c.positions, kHeadDim))
            << "layer " << layer << " side " << side;
      }
    }
  }
}

TEST(CachedAttentionDeathTest, NamesTheOperands) {
  const TestContext context;
  const Block block(context, 4, 16, DType::kF32);
  const ops::AttentionShape shape = {.heads = 2, .kv_heads = 2, .head_dim = 8, .first_key = {}};
  const Tensor q = RandomTensor(context, {3, 16}, DType::kF32, 1);
  const ops::CacheTable table = TableOf(context, {&block}, {1}, 2, 4);
  EXPECT_EXIT(ops::CachedAttention(context, q, table, shape, q), ::testing::ExitedWithCode(1),
              "\\[cached_attention\\] q f32\\[3, 16\\].*rows 2");
  EXPECT_EXIT(ops::AppendToCaches(context, q, table, shape, q), ::testing::ExitedWithCode(1),
              "\\[append_to_caches\\] qkv f32\\[3, 16\\]");
  EXPECT_EXIT(ops::CopyCache(context, block.block, block.block, 5, 8), ::testing::ExitedWithCode(1),
              "\\[copy_cache\\] from f32\\[2, 2, 4, 16\\].*positions 5");
}

}  // namespace
}  // namespace photon::testing
