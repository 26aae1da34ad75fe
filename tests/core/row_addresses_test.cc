#include "core/ops/row_addresses.h"

#include <gtest/gtest.h>

#include "core/ops/elementwise.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

Tensor Addresses(const Context& context, const Tensor& matrix, const std::vector<int64_t>& rows) {
  std::vector<int64_t> addresses;
  for (const int64_t row : rows) addresses.push_back(reinterpret_cast<int64_t>(matrix.Rows(row, row + 1).raw()));
  return context.FromHost(addresses.data(), {static_cast<int64_t>(rows.size())}, DType::kI64);
}

// Widths whose rows begin at multiples of 16, 4 and 2 bytes.
TEST(RowAddresses, GatherAndScatter) {
  const TestContext context;
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kBF16}) {
    for (const int64_t width : {1, 6, 17, 64, 768}) {
      const Tensor from = RandomTensor(context, {5, width}, dtype, 1), to = RandomTensor(context, {5, width}, dtype, 2);
      const Tensor gathered = context.get().Empty({3, width}, dtype);
      ops::GatherRows(context, Addresses(context, from, {4, 0, 4}), gathered);
      const std::vector<int64_t> picked = {4, 0, 4}, places = {2, 0, 3};
      for (int64_t i = 0; i < 3; ++i) {
        EXPECT_EQ(ToDoubles(context, gathered.Rows(i, i + 1)), ToDoubles(context, from.Rows(picked[i], picked[i] + 1)));
      }
      const Tensor before = context.get().Empty(to.shape(), dtype);
      ops::Cast(context, to, before);
      ops::ScatterRows(context, gathered, Addresses(context, to, places));
      for (int64_t i = 0; i < 3; ++i) {
        EXPECT_EQ(ToDoubles(context, to.Rows(places[i], places[i] + 1)), ToDoubles(context, gathered.Rows(i, i + 1)));
      }
      for (const int64_t other : {1, 4}) {
        EXPECT_EQ(ToDoubles(context, to.Rows(other, other + 1)), ToDoubles(context, before.Rows(other, other + 1)));
      }
    }
  }
}

}  // namespace
}  // namespace photon::testing
