// How short windows of attention share tiles of 16 rows, the height of a tensor core's operand.
//
// Windows are `length` rows each, one after the other. A tile holds as many whole windows as fit: rows 0 .. 14 for
// three windows of 5, and row 15 idles. So a tile's rows are neighbours in memory too, and no window is split.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace photon::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kLongestWindow = kTileRows;

struct WindowPacking {
  int64_t batch;  // windows
  int length;     // rows of a window, 1 .. kLongestWindow

  PHOTON_HOST_DEVICE int windows_per_tile() const { return kTileRows / length; }
  PHOTON_HOST_DEVICE int64_t tiles() const { return (batch + windows_per_tile() - 1) / windows_per_tile(); }
  PHOTON_HOST_DEVICE int64_t FirstRow(int64_t tile) const { return tile * windows_per_tile() * length; }
  // Rows of a tile that exist; those behind them are padding.
  PHOTON_HOST_DEVICE int RowsOf(int64_t tile) const {
    const int64_t left = batch - tile * windows_per_tile();
    return static_cast<int>(left < windows_per_tile() ? left : windows_per_tile()) * length;
  }
  // The first row of a tile that row `row` of it sees, where its window's first visible row is `first_key`. It sees all
  // from there up to itself. Padding sees padding alone, at least itself, so that no softmax is empty.
  PHOTON_HOST_DEVICE int Begin(int row, int first_key) const { return row / length * length + first_key; }
};

}  // namespace photon::cuda
