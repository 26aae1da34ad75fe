// The positions of an index (core/ops/rows.h) put in the order of the table rows that they name: what a deterministic
// scatter-add walks along. A stable radix sort: of one row's positions the lower come first.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/host_device.h"

namespace photon::cuda {

// Numbers the rows that gradients are wanted of: first those of the second table, then those of the first. A table that
// none are wanted of counts no rows here.
struct RowKeys {
  int64_t rows_a = 0, rows_b = 0;

  PHOTON_HOST_DEVICE uint32_t none() const { return static_cast<uint32_t>(rows_a + rows_b); }  // sorts last
  PHOTON_HOST_DEVICE uint32_t Of(int32_t index) const {
    if (index >= 0) return rows_a > 0 ? static_cast<uint32_t>(rows_b + index) : none();
    return rows_b > 0 ? static_cast<uint32_t>(-1 - int64_t{index}) : none();
  }
};

struct KeyedPosition {
  uint32_t key, position;
};

// The digits that keys up to `largest` are sorted by, the lowest first.
struct RadixPlan {
  int passes, bits;  // of each pass

  PHOTON_HOST_DEVICE static constexpr RadixPlan For(uint32_t largest) {
    constexpr int kMostBits = 10;  // counts of all digits fit in shared memory
    int bits = 1;
    while (bits < 32 && (largest >> bits) != 0) ++bits;
    const int passes = (bits + kMostBits - 1) / kMostBits;
    return {passes, (bits + passes - 1) / passes};
  }
};

// index i32 [N], N >= 1. Returns i32 [N, 2]: KeyedPositions by rising key, then by rising position. Bytes: 4 N (first
// pass) or 8 N read twice, 8 N written, a pass: little beside rows of some hundred elements.
Tensor SortByRow(const Context& context, const char* operation, const Tensor& index, const RowKeys& keys);

}  // namespace photon::cuda
