#include "core/cuda/row_walk.h"

#include <gtest/gtest.h>

#include <vector>

namespace photon {
namespace {

// Threads of any grid meet every item exactly once, in the order of the stride.
TEST(RowWalk, CoversEveryItemOnce) {
  for (const int64_t per_row : {1, 2, 5, 32, 33}) {
    for (const int64_t stride : {1, 3, 32, 64, 1000}) {
      const int64_t rows = 7;
      std::vector<int> visits(rows * per_row);
      for (int64_t thread = 0; thread < stride; ++thread) {
        int64_t want = thread;
        for (cuda::RowWalk walk(thread, stride, per_row); walk.row() < rows; walk.Advance(), want += stride) {
          ASSERT_LT(walk.item(), per_row);
          ASSERT_EQ(walk.row() * per_row + walk.item(), want);
          ++visits[want];
        }
      }
      EXPECT_EQ(visits, std::vector<int>(rows * per_row, 1)) << per_row << " a row, stride " << stride;
    }
  }
}

TEST(RowWalk, ItemsBeyond32Bits) {
  const int64_t per_row = int64_t{3} << 32;
  cuda::RowWalk walk(5, int64_t{1} << 33, per_row);
  walk.Advance();
  walk.Advance();
  EXPECT_EQ(walk.row(), 1);
  EXPECT_EQ(walk.item(), 5 + (int64_t{1} << 32));
}

}  // namespace
}  // namespace photon
