#include "core/tensor.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace photon {
namespace {

TEST(Tensor, MovedFromIsEmpty) {
  testing::TestContext context;
  Tensor a = context.get().Empty({2, 3}, DType::kF32);
  const Tensor b = std::move(a);
  EXPECT_FALSE(a.defined());
  EXPECT_TRUE(b.exclusive());
  Tensor c = b;
  EXPECT_FALSE(b.exclusive());
  a = std::move(c);
  EXPECT_FALSE(c.defined());
  EXPECT_EQ(a.raw(), b.raw());
  EXPECT_EQ(a.shape(), (Shape{2, 3}));
}

TEST(Tensor, TakenSlotGathersAgain) {
  testing::TestContext context;
  GradientSlot slot;
  EXPECT_FALSE(slot.Take().defined());
  slot.Accumulate(context, testing::FromDoubles(context, {1, 2}, {2}, DType::kF64));
  EXPECT_TRUE(slot.Take().defined());
  EXPECT_FALSE(slot.gradient().defined());
  slot.Accumulate(context, testing::FromDoubles(context, {3}, {1}, DType::kF64));
  EXPECT_EQ(testing::ToDoubles(context, slot.Take()), std::vector<double>{3});
}

}  // namespace
}  // namespace photon
