#include "core/parameter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "core/backend.h"
#include "core/ops/elementwise.h"
#include "core/random.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using namespace photon::testing;

constexpr Init kNormal = {.mean = 0, .stddev = 0.5};

struct Layout {
  ParameterSet set;
  const Weight *qkv, *norm, *matrix;

  // q, k and v of different heights, a vector without a compute copy, and one more matrix.
  explicit Layout(const Placement& rows = {}) {
    qkv = set.Add(
        {{"q", {6, 5}, kNormal, true, rows}, {"k", {2, 5}, kNormal, true, rows}, {"v", {2, 5}, kNormal, true, rows}},
        true);
    norm = set.Add({{"norm", {5}, {.mean = 1, .stddev = 0}, false, {}}});
    matrix = set.Add({{"matrix", {4, 3}, {.mean = 2, .stddev = 0.25}, true, {}}}, true);
  }
};

bool Inside(const Tensor& flat, const Tensor& view) {
  const auto* begin = static_cast<const char*>(flat.raw());
  const auto* at = static_cast<const char*>(view.raw());
  return at >= begin && at + view.bytes() <= begin + flat.bytes();
}

TEST(ParameterSet, AGroupIsOneMatrix) {
  const TestContext context;
  Layout layout;
  layout.set.Allocate(context, {});
  layout.set.Initialize(context, 1);
  EXPECT_EQ(layout.qkv->master.shape(), (Shape{10, 5}));
  EXPECT_EQ(layout.qkv->gradient.shape(), (Shape{10, 5}));
  std::vector<double> stacked;
  for (const char* name : {"q", "k", "v"}) {
    for (const double value : ToDoubles(context, layout.set.Find(name)->master)) stacked.push_back(value);
  }
  EXPECT_EQ(ToDoubles(context, layout.qkv->master), stacked);
  // They are views of the same memory, of the flat buffers.
  Parameter* k = layout.set.Find("k");
  SetElement(context, k->master, 0, 42);
  EXPECT_EQ(ToDoubles(context, layout.qkv->master)[6 * 5], 42);
  EXPECT_EQ(ToDoubles(context, layout.set.master())[k->begin], 42);
  SetElement(context, k->gradient, 1, 43);
  EXPECT_EQ(ToDoubles(context, layout.qkv->gradient)[6 * 5 + 1], 43);
  EXPECT_EQ(ToDoubles(context, layout.set.gradient())[k->begin + 1], 43);
}

TEST(ParameterSet, CountsAndFinds) {
  Layout layout;
  EXPECT_EQ(layout.set.count(), 50 + 5 + 12) << "before Allocate() too";
  EXPECT_EQ(layout.set.Find("norm")->spec.shape, (Shape{5}));
  EXPECT_EQ(layout.set.Find("nothing"), nullptr);
}

TEST(ParameterSet, GapsAreZeroAndGroupsAligned) {
  const TestContext context;  // fresh memory is NaN
  for (const DType master : {DType::kF32, DType::kF64}) {
    Layout layout;
    layout.set.Allocate(context, {.master = master, .at = {}});
    layout.set.Initialize(context, 1);
    std::vector<bool> used(layout.set.master().elements());
    for (const auto& p : layout.set.parameters()) {
      for (int64_t i = 0; i < p->elements(); ++i) {
        EXPECT_FALSE(used[p->begin + i]) << p->spec.name << " overlaps";
        used[p->begin + i] = true;
      }
    }
    const std::vector<double> values = ToDoubles(context, layout.set.master()),
                              gradients = ToDoubles(context, layout.set.gradient());
    int64_t gaps = 0;
    for (size_t i = 0; i < used.size(); ++i) {
      if (!used[i]) {
        EXPECT_EQ(values[i], 0) << i;
      }
      EXPECT_EQ(gradients[i], 0) << i;
      gaps += !used[i];
    }
    EXPECT_EQ(gaps, static_cast<int64_t>(used.size()) - layout.set.count());
    for (const Weight* weight : {layout.qkv, layout.norm, layout.matrix}) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(weight->master.raw()) % 64, 0u) << "a cache line";
    }
  }
}

TEST(ParameterSet, ComputeIsTheMasterWhereTypesAgree) {
  const TestContext context;
  for (const DType type : {DType::kF32, DType::kF64}) {
    Layout layout;
    layout.set.Allocate(context, {.master = type, .compute = type, .at = {}});
    layout.set.Initialize(context, 1);
    EXPECT_EQ(layout.qkv->compute.raw(), layout.qkv->master.raw());
    EXPECT_EQ(layout.matrix->compute.dtype(), type);
    EXPECT_FALSE(layout.norm->compute.defined()) << "it enters no matrix product";
  }
}

TEST(ParameterSet, Bf16CopiesAreTheRoundedMasters) {
  const TestContext context;
  Layout layout;
  layout.set.Allocate(context, {.master = DType::kF32, .compute = DType::kBF16, .at = {}});
  layout.set.Initialize(context, 1);
  const auto expect_rounded = [&] {
    for (const Weight* weight : {layout.qkv, layout.matrix}) {
      const Tensor rounded = context.get().Empty(weight->master.shape(), DType::kBF16);
      ops::Cast(context, weight->master, rounded);
      EXPECT_EQ(weight->compute.dtype(), DType::kBF16);
      EXPECT_EQ(ToDoubles(context, weight->compute), ToDoubles(context, rounded));
      EXPECT_FALSE(Inside(layout.set.master(), weight->compute));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(weight->compute.raw()) % 64, 0u);
    }
  };
  expect_rounded();
  SetElement(context, layout.set.Find("v")->master, 9, 3.14159);
  EXPECT_NE(ToDoubles(context, layout.qkv->compute)[49], 3.140625) << "copies wait for RefreshCompute";
  layout.set.RefreshCompute(context);
  EXPECT_EQ(ToDoubles(context, layout.qkv->compute)[49], 3.140625);
  expect_rounded();
}

TEST(ParameterSet, WithoutGradients) {
  const TestContext context;
  Layout layout;
  layout.set.Allocate(context, {.gradients = false, .at = {}});
  EXPECT_FALSE(layout.set.gradient().defined());
  EXPECT_FALSE(layout.qkv->gradient.defined());
  EXPECT_FALSE(layout.set.Find("norm")->gradient.defined());
}

TEST(ParameterSet, ZeroGradientsClearsAll) {
  const TestContext context;
  Layout layout;
  layout.set.Allocate(context, {});
  for (const auto& p : layout.set.parameters()) SetElement(context, p->gradient, p->elements() - 1, 7);
  layout.set.ZeroGradients(context);
  EXPECT_EQ(ToDoubles(context, layout.set.gradient()), std::vector<double>(layout.set.gradient().elements()));
}

TEST(ParameterSet, InitialValuesArePhiloxByNameAndIndex) {
  const TestContext context;
  Layout layout;
  layout.set.Allocate(context, {.master = DType::kF64, .at = {}});
  layout.set.Initialize(context, 9);
  const Philox philox(9, StableHash("matrix"));
  std::vector<double> want;
  for (int i = 0; i < 12; ++i) want.push_back(2 + 0.25 * philox.Normal(i));
  EXPECT_EQ(ToDoubles(context, layout.matrix->master), want);
  EXPECT_EQ(ToDoubles(context, layout.norm->master), std::vector<double>(5, 1));
  layout.set.Initialize(context, 10);
  EXPECT_NE(ToDoubles(context, layout.matrix->master), want);
  EXPECT_EQ(ToDoubles(context, layout.norm->master), std::vector<double>(5, 1)) << "a constant whatever the seed";
}

// Every rank of a split begins with its part of the whole.
TEST(ParameterSet, InitialValuesDoNotDependOnThePlacement) {
  const TestContext context;
  Layout whole;
  whole.set.Allocate(context, {});
  whole.set.Initialize(context, 5);
  for (const int dim : {0, 1}) {
    // Rows in two; columns can't be (5 is odd): in five.
    const int ranks = dim == 0 ? 2 : 5;
    for (int rank = 0; rank < ranks; ++rank) {
      Layout part(Placement{{{dim, MeshAxis::kTp}}});
      part.set.Allocate(context, {.at = {.index = {0, 0, 0, rank}, .size = {1, 1, 1, ranks}}});
      part.set.Initialize(context, 5);
      for (const char* name : {"q", "k", "v"}) {
        const Parameter &full = *whole.set.Find(name), &mine = *part.set.Find(name);
        const int64_t share = full.master.dim(dim) / ranks;
        EXPECT_EQ(ToDoubles(context, mine.master),
                  ToDoubles(context, full.master.Slice(dim, rank * share, (rank + 1) * share)))
            << name << " dim " << dim << " rank " << rank;
      }
      EXPECT_EQ(part.qkv->master.shape(), (dim == 0 ? Shape{5, 5} : Shape{10, 1}));
      EXPECT_EQ(part.set.count(), whole.set.count()) << "of global elements";
    }
  }
}

// What ranks share out: together they keep every master once; what is computed with is whole on each, and as without.
TEST(ParameterSet, ShardsOfSeveralRanksMakeUpTheMasters) {
  const TestContext context;
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    Layout whole;
    whole.set.Allocate(context, {.compute = compute});
    whole.set.Initialize(context, 5);
    for (const int ranks : {2, 3}) {
      for (const Sharding sharding : {Sharding::kOptimizer, Sharding::kGradients}) {
        std::map<std::string, std::vector<double>> kept;
        int64_t ranges = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          SCOPED_TRACE(::testing::Message() << Name(compute) << " rank " << rank << " of " << ranks);
          Layout part;
          part.set.Allocate(context, {.compute = compute,
                                      .at = {.index = {rank, 0, 0, 0}, .size = {ranks, 1, 1, 1}},
                                      .sharding = sharding,
                                      .bucket_bytes = 100});
          part.set.Initialize(context, 5);
          for (const auto& p : part.set.parameters()) {
            const Parameter& full = *whole.set.Find(p->spec.name);
            std::vector<double>& values = kept[p->spec.name];
            EXPECT_EQ(p->shard.begin == p->shard.end ? values.size() : p->shard.begin, values.size());
            if (p->shard.begin < p->shard.end) {
              const std::vector<double> own = ToDoubles(context, p->shard.master);
              EXPECT_EQ(static_cast<int64_t>(own.size()), p->shard.end - p->shard.begin);
              values.insert(values.end(), own.begin(), own.end());
            }
            EXPECT_EQ(p->master.defined(), compute == DType::kF32 || p->spec.name == "norm");
            if (p->master.defined()) {
              EXPECT_EQ(ToDoubles(context, p->master), ToDoubles(context, full.master));
            }
            EXPECT_EQ(p->compute.defined(), p->spec.name != "norm");
            if (p->compute.defined()) {
              EXPECT_EQ(ToDoubles(context, p->compute), ToDoubles(context, full.compute));
            }
            EXPECT_EQ(p->gradient.defined(), sharding == Sharding::kOptimizer);
          }
          EXPECT_EQ(part.qkv->compute.shape(), (Shape{10, 5}));
          EXPECT_TRUE(part.norm->trained);
          int64_t end = 0;
          for (const ParameterSet::Range& range : part.set.Ranges()) {
            EXPECT_GE(range.begin, end);
            end = range.end;
            const int64_t n = range.end - range.begin;
            EXPECT_EQ(range.master.elements(), n);
            EXPECT_EQ(range.gradient.elements(), n);
            if (range.compute.defined()) {
              EXPECT_EQ(range.compute.elements(), n);
            }
            ranges += n;
          }
          EXPECT_LE(end, part.set.layout().shard_elements);
          const int64_t gradients = part.set.gradient().elements();
          EXPECT_EQ(gradients,
                    sharding == Sharding::kGradients ? part.set.layout().shard_elements : part.set.layout().elements);
          EXPECT_EQ(part.set.count(), whole.set.count());
        }
        for (const auto& p : whole.set.parameters()) {
          EXPECT_EQ(kept[p->spec.name], ToDoubles(context, p->master)) << p->spec.name;
        }
        EXPECT_EQ(ranges, whole.set.count()) << "groups of these sizes leave no gap inside a range";
      }
    }
  }
}

// A bf16 matrix of n elements on 4 ranks: 2 n bytes of copies, 4 n of gradients (n where they are sharded), n of
// masters.
TEST(ParameterSet, MemoryOfShards) {
  constexpr int64_t kN = 64 * 1024;
  const auto bytes = [](int ranks, Sharding sharding, DType compute) {
    Arena arena;
    const Context context(Device{}, CpuBackend(), arena);
    ParameterSet set;
    set.Add({{"matrix", {64, 1024}, kNormal, true, {}}}, true);
    set.Add({{"norm", {1024}, kNormal, true, {}}});
    set.Allocate(context, {.compute = compute, .at = {.index = {}, .size = {ranks, 1, 1, 1}}, .sharding = sharding});
    set.Initialize(context, 1);
    const auto before = static_cast<int64_t>(arena.in_use());
    set.OpenGradients(context, static_cast<int>(set.layout().buckets.size()) - 1);
    const int64_t opened = static_cast<int64_t>(arena.in_use()) - before;
    EXPECT_EQ(opened, 4 * (set.layout().buckets.back().end - set.layout().buckets.back().begin));
    set.CloseGradients(static_cast<int>(set.layout().buckets.size()) - 1);
    EXPECT_EQ(static_cast<int64_t>(arena.in_use()), before);
    return before;
  };
  const int64_t all = kN + 1024;
  EXPECT_EQ(bytes(1, Sharding::kGradients, DType::kBF16), bytes(1, Sharding::kNone, DType::kBF16)) << "nobody to share";
  EXPECT_EQ(bytes(4, Sharding::kNone, DType::kBF16), 8 * all + 2 * kN);
  EXPECT_EQ(bytes(4, Sharding::kOptimizer, DType::kBF16), 4 * all + 4 * 1024 + kN + 2 * kN);
  EXPECT_EQ(bytes(4, Sharding::kGradients, DType::kBF16), all + 4 * 1024 + kN + 2 * kN);
  EXPECT_EQ(bytes(4, Sharding::kOptimizer, DType::kF32), 8 * all) << "all is computed with; the moments alone shrink";
  EXPECT_EQ(bytes(4, Sharding::kGradients, DType::kF32), 5 * all);
}

TEST(ParameterSet, ClassesLieTogether) {
  const TestContext context;
  const Placement split = {.splits = {{0, MeshAxis::kTp}}};
  ParameterSet set;
  set.Add({{"a", {4, 2}, kNormal, true, split}}, true);
  set.Add({{"b", {3}, kNormal, false, {}}});
  set.Add({{"c", {8, 2}, kNormal, true, split}}, true);
  set.Allocate(context, {.at = {.index = {}, .size = {1, 1, 1, 2}}});
  EXPECT_EQ(set.layout().classes.size(), 2u);
  EXPECT_LT(set.Find("b")->begin, set.Find("a")->begin);
  EXPECT_EQ(set.Find("c")->begin, set.Find("a")->begin + 64);
  EXPECT_EQ(set.parameters()[0]->spec.name, "a") << "in the order of adding";
  // Along an axis of one rank nothing is split.
  set.Allocate(context, {});
  EXPECT_EQ(set.layout().classes.size(), 1u);
  EXPECT_EQ(set.Find("a")->begin, 0);
}

TEST(ParameterSetDeathTest, AGroupOfTwoPlacements) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TestContext context;
  ParameterSet set;
  set.Add({{"q", {4, 2}, kNormal, true, {.splits = {{0, MeshAxis::kTp}}}}, {"k", {4, 2}, kNormal, true, {}}}, true);
  EXPECT_EXIT(set.Allocate(context, {.at = {.index = {}, .size = {1, 1, 1, 2}}}), ::testing::ExitedWithCode(1),
              "k does not lie as q");
}

TEST(ParameterSetDeathTest, TheSameNameTwice) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Layout layout;
  EXPECT_EXIT(layout.set.Add({{"norm", {5}, {}, false, {}}}), ::testing::ExitedWithCode(1),
              "parameter norm added twice");
}

}  // namespace
}  // namespace photon
