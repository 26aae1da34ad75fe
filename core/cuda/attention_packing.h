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

// Kernels ask this: no divisions but in the constructor.
class WindowPacking {
 public:
  // `length`: rows of a window, 1 .. kLongestWindow.
  WindowPacking(int64_t batch, int length)
      : rows_(batch * length),
        length_(length),
        rows_per_tile_(kTileRows / length * length),
        reciprocal_((kUnit + length - 1) / length) {}

  int64_t tiles() const { return (rows_ + rows_per_tile_ - 1) / rows_per_tile_; }
  PHOTON_HOST_DEVICE int64_t FirstRow(int64_t tile) const { return tile * rows_per_tile_; }
  // Rows of a tile that exist; those behind them are padding.
  PHOTON_HOST_DEVICE int RowsOf(int64_t tile) const {
    const int64_t left = rows_ - FirstRow(tile);
    return left < rows_per_tile_ ? static_cast<int>(left) : rows_per_tile_;
  }
  // The first row of a tile that row `row` of it sees, where its window's first visible row is `first_key`. It sees all
  // from there up to itself. Padding sees padding alone, at least itself, so that no softmax is empty.
  PHOTON_HOST_DEVICE int Begin(int row, int first_key) const { return row * reciprocal_ / kUnit * length_ + first_key; }

 private:
  static constexpr int kUnit = 256;  // enough for row * reciprocal_ / kUnit to be row / length_ for all rows of a tile
  int64_t rows_;
  int length_, rows_per_tile_, reciprocal_;
};

}  // namespace photon::cuda
