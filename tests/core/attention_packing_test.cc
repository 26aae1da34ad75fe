// How windows of attention share tiles on a GPU: maps that kernels use, on the host.
#include "core/cuda/attention_packing.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/ops/attention_heads.h"

namespace photon::cuda {
namespace {

// Batches around every border between tiles of up to 16 windows.
constexpr int64_t kBatches = 50;

TEST(WindowPacking, TilesHoldEveryRowOnceAndWholeWindows) {
  for (int length = 1; length <= kLongestWindow; ++length) {
    for (int64_t batch = 0; batch <= kBatches; ++batch) {
      const WindowPacking packing(batch, length);
      std::vector<int> held(batch * length, 0);
      for (int64_t tile = 0; tile < packing.tiles(); ++tile) {
        const int rows = packing.RowsOf(tile);
        ASSERT_GT(rows, 0) << "a tile of nothing";
        ASSERT_LE(rows, kTileRows);
        ASSERT_EQ(rows % length, 0) << "a window is split";
        ASSERT_EQ(packing.FirstRow(tile) % length, 0) << "a window is split";
        for (int row = 0; row < rows; ++row) ++held.at(packing.FirstRow(tile) + row);
      }
      EXPECT_EQ(held, std::vector<int>(batch * length, 1)) << "length " << length << " batch " << batch;
      // As full as whole windows fill it.
      EXPECT_EQ(packing.tiles(), (batch + kTileRows / length - 1) / (kTileRows / length));
    }
  }
}

// By the definition: a row sees rows of its own window from first_key up to itself. Padding sees itself, nobody sees
// it.
TEST(WindowPacking, MaskIsTheDefinition) {
  for (int length = 1; length <= kLongestWindow; ++length) {
    for (const int document : {1, 2, 5, kLongestWindow}) {
      for (int64_t batch = 1; batch <= kBatches; ++batch) {
        const WindowPacking packing(batch, length);
        for (int64_t tile = 0; tile < packing.tiles(); ++tile) {
          const int rows = packing.RowsOf(tile);
          for (int i = 0; i < kTileRows; ++i) {
            const int64_t row = packing.FirstRow(tile) + i, position = row % length;
            const int first_key = i < rows ? static_cast<int>(position / document * document) : 0;
            const int begin = packing.Begin(i, first_key);
            ASSERT_LE(begin, i) << "row " << i << " sees nothing";
            for (int j = 0; j < kTileRows; ++j) {
              const int64_t key = packing.FirstRow(tile) + j;
              const bool visible = begin <= j && j <= i;
              if (i < rows) {
                const bool want = key / length == row / length && key <= row && key % length >= first_key;
                ASSERT_EQ(visible, want) << "length " << length << " row " << i << " key " << j;
              } else {
                ASSERT_FALSE(visible && j < rows) << "padding " << i << " sees row " << j;
              }
            }
          }
        }
      }
    }
  }
}

TEST(WindowPacking, HeadsOfGroupsAreThoseThatReadThem) {
  for (int heads = 1; heads <= 9; ++heads) {
    for (int kv_heads = 1; kv_heads <= heads; ++kv_heads) {
      EXPECT_EQ(ops::FirstQueryHead(0, heads, kv_heads), 0);
      EXPECT_EQ(ops::FirstQueryHead(kv_heads, heads, kv_heads), heads);
      for (int g = 0; g < kv_heads; ++g) {
        const int end = ops::FirstQueryHead(g + 1, heads, kv_heads);
        for (int h = ops::FirstQueryHead(g, heads, kv_heads); h < end; ++h) EXPECT_EQ(h * kv_heads / heads, g);
      }
    }
  }
}

}  // namespace
}  // namespace photon::cuda
