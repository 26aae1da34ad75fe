// Rounding fractions up or down such that sums along two orders are rounded to a neighbour too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace photon {

struct Rounded {
  size_t item = 0;
  int64_t fraction = 0;  // of `one`: above 0 and below it
};

// `first` and `second` hold the same items in two orders; their fractions add up to a multiple of `one`. Returns the
// items to round up: of every prefix of either order, as many as the sum of its fractions, rounded up or down.
//
// Laid end to end, the fractions of an order fill cells of length `one`, of which an item touches one or two. The items
// to round up are those of a flow that takes one unit from each cell of the first order, through an item, to each cell
// of the second. The fractions themselves are such a flow, so one in whole numbers exists (Ford and Fulkerson).
std::vector<size_t> RoundInTwoOrders(const std::vector<Rounded>& first, const std::vector<Rounded>& second,
                                     int64_t one);

}  // namespace photon
