// Which tiles of a long stream meet, who sees whom, and where elements lie: maps that kernels use, on the host.
#include "core/cuda/attention_tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace photon::cuda {
namespace {

constexpr int kLengths[] = {17, 40, 63, 64, 65, 70, 100, 127, 128, 129, 140, 200, 257, 300};
constexpr int kTiles[] = {8, 16, 32, 64, 128};

// First keys of documents of `document` rows (0: one document), the first of which began `shift` rows earlier.
std::vector<int32_t> FirstKeys(int length, int document, int shift) {
  std::vector<int32_t> first(length, 0);
  for (int i = 0; document > 0 && i < length; ++i) first[i] = std::max(0, (i + shift) / document * document - shift);
  return first;
}

// By the definition, pair by pair, for the rows of `span` among `keys` keys, in tiles of `other` for every tile of
// `own`: the tiles of a range are all that see or are seen, and its ends are tight.
void ExpectTightRanges(const StreamSpan& span, int keys, int own, int other, const std::string& what) {
  constexpr TileRange kNone{1 << 20, 0};
  std::vector<TileRange> of_rows(TilesOf(span.length, own), kNone), of_keys(TilesOf(keys, own), kNone);
  const auto add = [](TileRange& range, int tile) {
    range = {std::min(range.begin, tile), std::max(range.end, tile + 1)};
  };
  for (int i = 0; i < span.length; ++i) {
    for (int j = span.FirstKey(i); j <= span.offset + i; ++j) {
      add(of_rows[i / own], j / other);
      add(of_keys[j / own], i / other);
    }
  }
  const auto expect = [&](TileRange got, TileRange want, const char* kind, int begin) {
    if (want.begin > want.end) {
      ASSERT_EQ(got.begin, got.end) << kind << " from " << begin << ", " << what << ": nobody sees them";
    } else {
      ASSERT_EQ(std::pair(got.begin, got.end), std::pair(want.begin, want.end))
          << kind << " from " << begin << ", " << what;
    }
  };
  for (int begin = 0; begin < span.length; begin += own) {
    expect(KeyTiles(span, begin, own, other), of_rows[begin / own], "rows", begin);
  }
  for (int begin = 0; begin < keys; begin += own) {
    expect(RowTiles(span, begin, own, other), of_keys[begin / own], "keys", begin);
  }
}

TEST(AttentionTiles, RangesHoldEveryVisiblePair) {
  for (const int keys : kLengths) {
    for (const int document : {0, 1, 9, 50, 130}) {
      const std::vector<int32_t> first = FirstKeys(keys, document, document / 3);
      // The whole; its end, a part of it, and its begin, whose rows are fewer than its keys.
      for (const auto& [offset, length] : {std::pair(0, keys), std::pair(keys / 3, keys - keys / 3),
                                           std::pair(keys / 2, keys / 4 + 1), std::pair(0, keys / 2 + 1)}) {
        const StreamSpan span = {length, offset, document == 0 ? nullptr : first.data() + offset};
        for (const int own : kTiles) {
          for (const int other : kTiles) {
            ExpectTightRanges(span, keys, own, other,
                              "positions " + std::to_string(offset) + " .. " + std::to_string(offset + length - 1) +
                                  " of " + std::to_string(keys) + ", document " + std::to_string(document));
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(AttentionTiles, RangesStayInsideWhateverFirstKeyHolds) {
  const std::vector<int32_t> wild = {-5, 1 << 30, 3, -(1 << 30), 7, 100, 0, 2};
  const int length = static_cast<int>(wild.size());
  for (const int offset : {0, 3}) {
    const StreamSpan span = {length, offset, wild.data()};
    for (int begin = 0; begin < length; begin += 2) {
      const TileRange keys = KeyTiles(span, begin, 2, 2);
      EXPECT_TRUE(0 <= keys.begin && keys.begin < keys.end && keys.end <= TilesOf(span.seen_keys(), 2));
    }
    for (int begin = 0; begin < span.seen_keys(); begin += 2) {
      const TileRange rows = RowTiles(span, begin, 2, 2);
      EXPECT_TRUE(0 <= rows.begin && rows.begin <= rows.end && rows.end <= length / 2);
      EXPECT_TRUE(begin < offset || rows.begin < rows.end) << "a row sees itself";
    }
  }
}

TEST(AttentionTiles, HiddenIsTheDefinition) {
  for (const int length : {40, 70, 129}) {
    for (const int document : {0, 1, 9, 50}) {
      const std::vector<int32_t> first = FirstKeys(length, document, document / 3);
      for (int row = 0; row < length; row += document == 9 ? 7 : 16) {
        const int rows = std::min(16, length - row);
        for (int key = 0; key < length; key += 16) {
          int visible = 0;
          for (int i = row; i < row + rows; ++i) {
            for (int j = key; j < key + 16; ++j) {
              visible += Sees(i, first[i], j);
              ASSERT_EQ(Sees(i, first[i], j), first[i] <= j && j <= i);
            }
          }
          EXPECT_EQ(AllHidden(row, rows, first[row], key, 16), visible == 0);
          EXPECT_EQ(AnyHidden(row, first[row + rows - 1], key, 16), visible < rows * 16);
        }
      }
    }
  }
}

TEST(AttentionTiles, PanelsHoldEveryElementOnceAndGroupsOfEightRowsWhereProductsLookForThem) {
  constexpr int kRows = 24, kColumns = 192;
  std::set<int> places;
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      places.insert(PanelElement<kRows>(row, column));
      if (row % 8 != 0) continue;  // which the swizzle leaves where they are
      EXPECT_EQ(PanelElement<kRows>(row, column), column / 64 * 64 * kRows + TileElement<64>(row, column % 64));
    }
  }
  EXPECT_EQ(places.size(), size_t{kRows} * kColumns);
  EXPECT_EQ(*places.rbegin(), kRows * kColumns - 1);
}

TEST(AttentionTiles, BlocksDoEveryTileOfEveryHeadOnce) {
  const int tiles = 5, heads = 3, sequences = 4;
  for (const bool last_first : {false, true}) {
    std::set<std::vector<int64_t>> seen;
    for (int64_t block = 0; block < tiles * heads * sequences; ++block) {
      const StreamBlock b = StreamBlockOf(block, tiles, heads, last_first);
      EXPECT_TRUE(b.sequence < sequences && b.head < heads && 0 <= b.tile && b.tile < tiles);
      EXPECT_EQ(b.tile, last_first ? tiles - 1 - block % tiles : block % tiles) << "most work first";
      seen.insert({b.sequence, b.head, b.tile});
    }
    EXPECT_EQ(seen.size(), size_t{tiles * heads * sequences});
  }
}

TEST(AttentionTiles, HeadsThatShareKeysAreNeighbours) {
  for (int heads = 1; heads <= 12; ++heads) {
    for (int kv_heads = 1; kv_heads <= heads; ++kv_heads) {
      EXPECT_EQ(FirstHeadOf(kv_heads, heads, kv_heads), heads);
      for (int g = 0; g < kv_heads; ++g) {
        const int begin = FirstHeadOf(g, heads, kv_heads), end = FirstHeadOf(g + 1, heads, kv_heads);
        ASSERT_LT(begin, end);
        for (int h = begin; h < end; ++h) EXPECT_EQ(KeyHeadOf(h, heads, kv_heads), g);
      }
    }
  }
}

// Every element has its own place, eight stay together, and eight rows of one column lie in eight different banks.
template <int kWidth>
void ExpectPlacesOfTile() {
  std::set<int> places;
  for (int row = 0; row < 64; ++row) {
    for (int column = 0; column < kWidth; ++column) {
      const int place = TileElement<kWidth>(row, column);
      EXPECT_TRUE(0 <= place && place < 64 * kWidth);
      EXPECT_EQ(place % 8, column % 8);
      EXPECT_EQ(place / 8, TileElement<kWidth>(row, column / 8 * 8) / 8);
      places.insert(place);
    }
  }
  EXPECT_EQ(places.size(), size_t{64} * kWidth);
  for (int row = 0; row < 64; row += 8) {
    for (int column = 0; column < kWidth; column += 8) {
      std::set<int> banks;  // in 16 bytes, eight of them
      for (int r = 0; r < 8; ++r) banks.insert(TileElement<kWidth>(row + r, column) / 8 % 8);
      EXPECT_EQ(banks.size(), 8u) << "rows from " << row << ", column " << column;
    }
  }
}

TEST(AttentionTiles, ElementsInSharedMemory) {
  ExpectPlacesOfTile<64>();
  ExpectPlacesOfTile<128>();
}

// Lanes name the four 8 x 8 tiles of a 16 x 16 one in the order in which the matrix unit wants them.
TEST(AttentionTiles, LanesNameEveryRowOfEveryEight) {
  for (int lane = 0; lane < 32; ++lane) {
    const TilePlace left = LeftPlace(lane), right = RightPlace(lane);
    const int tile = lane / 8;
    EXPECT_EQ(left.row, lane % 8 + 8 * (tile % 2));  // above, below; then the next eight columns
    EXPECT_EQ(left.column, 8 * (tile / 2));
    EXPECT_EQ(right.row,
              lane % 8 + 8 * (tile / 2));  // the first eight columns' both halves of the depth, then the next
    EXPECT_EQ(right.column, 8 * (tile % 2));
  }
  std::set<std::pair<int, int>> sums;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) sums.emplace(SumPlace(lane, i).row, SumPlace(lane, i).column);
  }
  EXPECT_EQ(sums.size(), 128u);
  EXPECT_EQ(*sums.rbegin(), std::pair(15, 7));
}

}  // namespace
}  // namespace photon::cuda
