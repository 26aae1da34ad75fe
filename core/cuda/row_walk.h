// How the threads of a grid share the items of a matrix.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace photon::cuda {

// Items of rows that are cut into `per_row` items each, from item `first` with a fixed stride: no division a step.
class RowWalk {
 public:
  PHOTON_HOST_DEVICE RowWalk(int64_t first, int64_t stride, int64_t per_row)
      : row_(first / per_row),
        item_(first % per_row),
        row_step_(stride / per_row),
        item_step_(stride % per_row),
        per_row_(per_row) {}
  PHOTON_HOST_DEVICE int64_t row() const { return row_; }
  PHOTON_HOST_DEVICE int64_t item() const { return item_; }  // within the row
  PHOTON_HOST_DEVICE void Advance() {
    row_ += row_step_;
    item_ += item_step_;
    if (item_ >= per_row_) {
      item_ -= per_row_;
      ++row_;
    }
  }

 private:
  int64_t row_, item_, row_step_, item_step_, per_row_;
};

}  // namespace photon::cuda
