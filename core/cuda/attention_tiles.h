// Where things are in attention over long streams: which block does what, which tiles it meets, who sees whom, and
// where an element of a tile lies in shared memory and in a warp's registers.
//
// Plain functions, for kernels and, in tests, for the host. Keys are positions inside one sequence, rows are counted
// from the first one that the call computes.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace photon::cuda {

// Half-open.
struct TileRange {
  int begin, end;
};

PHOTON_HOST_DEVICE constexpr int TilesOf(int64_t elements, int tile) {
  return static_cast<int>((elements + tile - 1) / tile);
}

// Blocks are one-dimensional: all tiles of a head one after the other, so that its keys and values stay in the cache
// that multiprocessors share, and those with most work first, so that the last blocks to run are short ones.
struct StreamBlock {
  int64_t sequence;
  int head;  // for gradients of keys and values: the key/value head
  int tile;
};
PHOTON_HOST_DEVICE constexpr StreamBlock StreamBlockOf(int64_t block, int tiles, int heads, bool last_tile_first) {
  const int64_t stream = block / tiles;
  const int tile = static_cast<int>(block % tiles);
  return {stream / heads, static_cast<int>(stream % heads), last_tile_first ? tiles - 1 - tile : tile};
}

// The key/value head of query head h, and the first query head of key/value head g: heads are split as evenly as they
// go.
PHOTON_HOST_DEVICE constexpr int KeyHeadOf(int h, int heads, int kv_heads) {
  return static_cast<int>(static_cast<int64_t>(h) * kv_heads / heads);
}
PHOTON_HOST_DEVICE constexpr int FirstHeadOf(int g, int heads, int kv_heads) {
  return static_cast<int>((static_cast<int64_t>(g) * heads + kv_heads - 1) / kv_heads);
}

// The rows of one sequence that a call computes: row i is position offset + i.
struct StreamSpan {
  int length, offset;
  const int32_t* first_key;  // the sequence's own part of AttentionShape::first_key, nondecreasing, or null: all 0

  PHOTON_HOST_DEVICE constexpr int FirstKey(int row) const { return first_key == nullptr ? 0 : first_key[row]; }
  PHOTON_HOST_DEVICE constexpr int seen_keys() const { return offset + length; }
};

PHOTON_HOST_DEVICE constexpr bool Sees(int position, int first_key, int key) {
  return first_key <= key && key <= position;
}

// Tiles of `tile` keys that rows [row, row + rows) see anything of. Never outside of the keys that are seen, whatever
// first_key holds.
PHOTON_HOST_DEVICE constexpr TileRange KeyTiles(const StreamSpan& span, int row, int rows, int tile) {
  const int end = span.offset + (row + rows < span.length ? row + rows : span.length);
  const int position = span.offset + row, first = span.FirstKey(row);
  return {(first < 0 ? 0 : first < position ? first : position) / tile, TilesOf(end, tile)};
}
// Tiles of `tile` rows in which some row sees any of keys [key, key + keys); empty where none does.
PHOTON_HOST_DEVICE constexpr TileRange RowTiles(const StreamSpan& span, int key, int keys, int tile) {
  const int own = key - span.offset;  // the row that is key `key`: no row before it sees any
  if (own >= span.length) return {0, 0};
  int end = span.length;
  if (span.first_key != nullptr) {    // the first row that sees later keys only
    int low = own < 0 ? 0 : own + 1;  // a row sees itself
    while (low < end) {
      const int middle = low + (end - low) / 2;
      if (span.first_key[middle] < key + keys) {
        low = middle + 1;
      } else {
        end = middle;
      }
    }
  }
  return {(own < 0 ? 0 : own) / tile, TilesOf(end, tile)};
}

// Of rows at positions [position, position + rows) and keys [key, key + keys): is every pair hidden; is any? `first`
// and `last_first` are the first keys of the first and of the last of the rows.
PHOTON_HOST_DEVICE constexpr bool AllHidden(int position, int rows, int first, int key, int keys) {
  return key >= position + rows || key + keys <= first;
}
PHOTON_HOST_DEVICE constexpr bool AnyHidden(int position, int last_first, int key, int keys) {
  return key + keys - 1 > position || last_first > key;
}

// The element of a tile [rows][kWidth] of 16-bit elements in shared memory. Eight elements, 16 bytes, stay together;
// which eight of a row go where depends on the row, so that the same columns of eight rows lie in different banks.
template <int kWidth>
PHOTON_HOST_DEVICE constexpr int TileElement(int row, int column) {
  static_assert(kWidth % 64 == 0, "a row is a multiple of all banks");
  return row * kWidth + ((column / 8) ^ (row % 8)) * 8 + column % 8;
}

// Tiles for products of warpgroups: [kRows][64] panels, one behind the other. Element [row][column], the swizzle (that
// of TileElement<64> in each panel) left aside.
template <int kRows>
PHOTON_HOST_DEVICE constexpr int PanelElement(int row, int column) {
  return (column / 64 * kRows + row) * 64 + column % 64;
}

// What a lane's address for LoadMatrix4 (simt.h) is to name, relative to a 16 x 16 tile.
struct TilePlace {
  int row, column;
};
// Left factors [16 rows][16 deep], from a tile [row][depth]. Also, transposed, right factors [16 deep][16 columns] from
// a tile [depth][column]: r[0], r[1] are b of the first eight columns, r[2], r[3] of the others.
PHOTON_HOST_DEVICE constexpr TilePlace LeftPlace(int lane) { return {lane % 16, lane / 16 * 8}; }
// Right factors [16 deep][16 columns] from a tile [column][depth]: b[0], b[1] of the first eight columns, then of the
// others.
PHOTON_HOST_DEVICE constexpr TilePlace RightPlace(int lane) { return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8}; }
// What d[i] of MmaBf16 is: of [16][8].
PHOTON_HOST_DEVICE constexpr TilePlace SumPlace(int lane, int i) {
  return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2};
}

}  // namespace photon::cuda
