// Where the gradient of a value gathers.
#include <gtest/gtest.h>

#include "core/tape.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using namespace photon::testing;

class GradientSlotTest : public ::testing::Test {
 protected:
  const TestContext context_;
};

TEST_F(GradientSlotTest, TakesTheFirstOverWithoutACopy) {
  GradientSlot slot;
  Tensor first = FromDoubles(context_, {1, 2}, {2}, DType::kF64);
  const void* memory = first.raw();
  slot.Accumulate(context_, std::move(first));
  EXPECT_EQ(slot.gradient().raw(), memory);
  slot.Accumulate(context_, FromDoubles(context_, {10, 20}, {2}, DType::kF64));
  EXPECT_EQ(slot.gradient().raw(), memory) << "nobody else holds it: in place";
  EXPECT_EQ(ToDoubles(context_, slot.gradient()), (std::vector<double>{11, 22}));
}

TEST_F(GradientSlotTest, NeverChangesWhatOthersHold) {
  GradientSlot left, right;
  const Tensor shared = FromDoubles(context_, {1, 2}, {2}, DType::kF64);
  left.Accumulate(context_, shared);  // y = x1 + x2 hands one gradient to both
  right.Accumulate(context_, shared);
  left.Accumulate(context_, FromDoubles(context_, {10, 20}, {2}, DType::kF64));
  EXPECT_EQ(ToDoubles(context_, left.gradient()), (std::vector<double>{11, 22}));
  EXPECT_EQ(ToDoubles(context_, right.gradient()), (std::vector<double>{1, 2}));
  // A view of a larger gradient shares its storage.
  GradientSlot part;
  const Tensor whole = FromDoubles(context_, {1, 2, 3, 4}, {2, 2}, DType::kF64);
  part.Accumulate(context_, whole.Rows(1, 2));
  part.Accumulate(context_, FromDoubles(context_, {5, 5}, {1, 2}, DType::kF64));
  EXPECT_EQ(ToDoubles(context_, part.gradient()), (std::vector<double>{8, 9}));
  EXPECT_EQ(ToDoubles(context_, whole), (std::vector<double>{1, 2, 3, 4}));
}

TEST_F(GradientSlotTest, ReshapesAndConverts) {
  GradientSlot slot;
  slot.Accumulate(context_, FromDoubles(context_, {1, 2, 3, 4}, {2, 2}, DType::kF32));
  slot.Accumulate(context_, FromDoubles(context_, {1, 1, 1, 1}, {4}, DType::kBF16));
  EXPECT_EQ(slot.gradient().shape(), (Shape{2, 2}));
  EXPECT_EQ(slot.gradient().dtype(), DType::kF32);
  EXPECT_EQ(ToDoubles(context_, slot.Take()), (std::vector<double>{2, 3, 4, 5}));
}

}  // namespace
}  // namespace photon
