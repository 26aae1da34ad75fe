// Attention against its definition.
#include "core/ops/attention.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/core/attention_reference.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::Attention;
using testing::Define;
using testing::ExpectDefinition;
using testing::ExpectWithin;
using testing::FillRows;
using testing::Reference;
using testing::TestContext;
using testing::ToDoubles;
using Case = testing::AttentionCase;

class AttentionCases : public ::testing::TestWithParam<std::tuple<Case, DType>> {};

TEST_P(AttentionCases, MatchesTheDefinition) {
  const TestContext context;
  const auto& [c, dtype] = GetParam();
  Attention a(context, c, dtype);
  a.Forward();
  a.Backward();
  ExpectDefinition(a);
}

// Windows: of one row, of any width, several to a tile of 16 rows, with documents.
INSTANTIATE_TEST_SUITE_P(Windows, AttentionCases,
                         ::testing::Combine(::testing::Values(Case{7, 5, 4, 4, 64}, Case{3, 1, 2, 1, 32},
                                                              Case{5, 5, 3, 2, 52}, Case{2, 4, 5, 5, 6},
                                                              Case{9, 3, 4, 2, 20}, Case{2, 16, 2, 2, 128},
                                                              Case{2, 8, 2, 1, 96, 3}, Case{3, 13, 3, 1, 60, 4},
                                                              Case{2, 9, 2, 2, 80}, Case{3, 7, 2, 2, 100}),
                                            ::testing::Values(DType::kF64, DType::kF32, DType::kBF16)));

// Streams: lengths around multiples of tiles (16, 32, 64, 128), widths whose rows are aligned to 16 bytes (of bf16: 56,
// 64, 128), to 8 (52, 60, 20, 100), to less (6, 33), or wider than tensor cores are given (130); heads that share keys
// evenly and not; documents shorter than a tile, longer than one, and of one row.
INSTANTIATE_TEST_SUITE_P(
    Streams, AttentionCases,
    ::testing::Combine(::testing::Values(Case{2, 17, 2, 2, 64}, Case{3, 17, 4, 2, 6, 5}, Case{1, 40, 2, 1, 130, 22},
                                         Case{2, 63, 2, 1, 128, 20}, Case{2, 64, 3, 2, 52}, Case{1, 65, 2, 2, 56, 1},
                                         Case{1, 70, 2, 2, 33}, Case{2, 100, 4, 1, 20, 9}, Case{1, 127, 2, 1, 52},
                                         Case{1, 128, 1, 1, 60}, Case{2, 129, 2, 1, 64, 50}, Case{1, 140, 3, 2, 100},
                                         Case{1, 200, 2, 2, 128, 70}, Case{1, 257, 2, 2, 16},
                                         Case{1, 300, 3, 2, 60, 130}, Case{1, 70, 2, 1, 50, 30}),
                       ::testing::Values(DType::kF64, DType::kF32, DType::kBF16)));

// Streams long enough for the kernels of a GPU's warpgroups, and that tiles come round more than once.
INSTANTIATE_TEST_SUITE_P(LongStreams, AttentionCases,
                         ::testing::Combine(::testing::Values(Case{1, 512, 2, 1, 64}, Case{1, 700, 1, 1, 52, 333},
                                                              Case{1, 577, 2, 2, 128, 100}, Case{2, 640, 1, 1, 60}),
                                            ::testing::Values(DType::kBF16)));

// Head sizes at which a GPU's kernels of plain arithmetic need nearly, but not quite, all shared memory that there is
// without asking for more.
INSTANTIATE_TEST_SUITE_P(SharedMemory, AttentionCases,
                         ::testing::Combine(::testing::Values(Case{1, 20, 1, 1, 122}, Case{1, 20, 1, 1, 124},
                                                              Case{1, 20, 1, 1, 126}, Case{1, 20, 1, 1, 152},
                                                              Case{1, 20, 1, 1, 252}, Case{1, 20, 1, 1, 254}),
                                            ::testing::Values(DType::kF64, DType::kF32, DType::kBF16)));

// Scores of a few hundred, which overflow exp without the maximum.
TEST(Attention, LargeScores) {
  const TestContext context;
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kBF16}) {
    for (const int64_t length : {5, 40, 150}) {
      Attention a(context, {2, length, 2, 2, 64}, dtype, /*size=*/6);
      a.Forward();
      const Reference r = Define(a);
      ExpectWithin(ToDoubles(context, a.out), r.out, "out");
      ExpectWithin(ToDoubles(context, a.lse), r.lse, "lse");
      EXPECT_GT(*std::max_element(r.lse.value.begin(), r.lse.value.end()), 100);
    }
  }
}

// Scores that rise from key to key, by a few hundred in all: weights against a maximum seen long ago would overflow.
TEST(Attention, RisingScores) {
  const TestContext context;
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kBF16}) {
    const Case c = {1, 600, 1, 1, 64};
    Attention a(context, c, dtype);
    FillRows(context, a.Q(a.qkv), 0, c.length, 1);
    constexpr int64_t kSteps = 20, kTogether = 30;  // 6 of the score apart: of base 2 more than kernels let pass
    for (int64_t step = 0; step < kSteps; ++step) {
      FillRows(context, a.K(a.qkv), step * kTogether, (step + 1) * kTogether, 0.75 * step);
    }
    a.Forward();
    a.Backward();
    ExpectDefinition(a);
  }
}

}  // namespace
}  // namespace photon
