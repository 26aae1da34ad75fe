// Counting what is no finite number, and the table of operations that are checked by it.
#include "core/ops/finite.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/backend.h"
#include "core/checked_backend.h"
#include "core/checked_device.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::FromDoubles;
using ::testing::HasSubstr;
using testing::IntTensor;
using ::testing::Not;
using testing::RandomTensor;
using testing::SetElement;
using testing::TestContext;
using testing::ToDoubles;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<int64_t> CountsOf(const Context& context, const Tensor& x) {
  const Tensor counts = context.Zeros({2}, DType::kI64);
  ops::CountNonFinite(context, x, counts);
  std::vector<int64_t> host(2);
  context.ToHost(counts, host.data());
  return host;
}

TEST(CountNonFinite, FindsEveryOne) {
  const TestContext context;
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kBF16}) {
    for (const int64_t n : {1, 31, 33, 257, 20'003}) {
      SCOPED_TRACE(absl::StrCat(Name(dtype), " ", n));
      const Tensor x = RandomTensor(context, {n}, dtype, 1, 1e30);
      EXPECT_THAT(CountsOf(context, x), ElementsAre(0, 0));
      SetElement(context, x, n - 1, kNan);
      EXPECT_THAT(CountsOf(context, x), ElementsAre(1, 0));
      SetElement(context, x, 0, -kInfinity);
      if (n > 2) SetElement(context, x, n / 2, kInfinity);
      EXPECT_THAT(CountsOf(context, x), ElementsAre(n > 1 ? 1 : 0, n > 2 ? 2 : 1));
    }
  }
}

// Of strided rows, what lies between them is not seen; counts are added to.
TEST(CountNonFinite, LooksAtItsColumnsAlone) {
  const TestContext context;
  std::vector<double> values(7 * 11, kNan);
  for (int i = 0; i < 7; ++i) {
    for (int j = 2; j < 7; ++j) values[i * 11 + j] = 1;
  }
  values[3 * 11 + 6] = kInfinity;
  const Tensor whole = FromDoubles(context, values, {7, 11}, DType::kF32);
  EXPECT_THAT(CountsOf(context, whole.Columns(2, 7)), ElementsAre(0, 1));
  EXPECT_THAT(CountsOf(context, whole.Columns(2, 6)), ElementsAre(0, 0));
  EXPECT_THAT(CountsOf(context, whole.Columns(1, 7)), ElementsAre(7, 1));
  EXPECT_THAT(CountsOf(context, context.get().Empty({0, 4}, DType::kF32)), ElementsAre(0, 0));
  const Tensor counts = context.get().Zeros({2}, DType::kI64);
  ops::CountNonFinite(context, whole, counts);
  ops::CountNonFinite(context, whole, counts);
  int64_t host[2];
  context.get().ToHost(counts, host);
  EXPECT_EQ(host[0], 2 * 7 * 6);
  EXPECT_EQ(host[1], 2);
}

class CheckedBackendTest : public ::testing::Test {
 protected:
  const TestContext plain_;
  const CheckedBackend backend_{plain_.get().backend()};
  const Context context_{plain_.get().device(), backend_, plain_.get().allocator(), plain_.get().stream()};

  // Empty where the operation passes.
  template <typename F>
  static std::string Found(F&& operation) {
    try {
      operation();
      return "";
    } catch (const NotFinite& found) {
      return found.what();
    }
  }
};

TEST_F(CheckedBackendTest, HasEveryOperation) {
  using Entry = void (*)();
  constexpr size_t kEntries = sizeof(Backend) / sizeof(Entry);
  Entry checked[kEntries], unchecked[kEntries];
  std::memcpy(checked, static_cast<const Backend*>(&backend_), sizeof(checked));
  std::memcpy(unchecked, &backend_.unchecked(), sizeof(unchecked));
  for (size_t i = 0; i < kEntries; ++i) {
    EXPECT_NE(checked[i], nullptr) << i;
    EXPECT_NE(checked[i], unchecked[i]) << i;
  }
}

TEST_F(CheckedBackendTest, NamesOperationAndTensors) {
  const Tensor a = RandomTensor(plain_, {3, 8}, DType::kF32, 1), b = RandomTensor(plain_, {5, 8}, DType::kF32, 2);
  const Tensor c = plain_.get().Empty({3, 5}, DType::kF32);
  const auto product = [&] { ops::MatMul(context_, a, false, b, true, Tensor(), 0, c); };
  EXPECT_EQ(Found(product), "");
  const std::vector<double> want = ToDoubles(plain_, c);
  ops::MatMul(plain_, a, false, b, true, Tensor(), 0, c);
  EXPECT_EQ(ToDoubles(plain_, c), want) << "checked and unchecked";
  SetElement(plain_, b, 9, kNan);
  EXPECT_THAT(Found(product), AllOf(HasSubstr("check: matmul wrote"),
                                    HasSubstr(absl::StrCat("c ", c.ToString(), ", 3 NaN and 0 infinite of 15")),
                                    HasSubstr(absl::StrCat("a ", a.ToString(), ", finite")),
                                    HasSubstr(absl::StrCat("b ", b.ToString(), ", 1 NaN and 0 infinite of 40"))));
}

TEST_F(CheckedBackendTest, SeesOverflowAndWhatIsWrittenInPlace) {
  const Tensor wide = FromDoubles(plain_, {1, 3.4e38}, {2}, DType::kF32);
  const Tensor narrow = plain_.get().Empty({2}, DType::kBF16);  // whose largest is 3.39e38
  EXPECT_THAT(Found([&] { ops::Cast(context_, wide, narrow); }), HasSubstr("0 NaN and 1 infinite of 2"));
  EXPECT_THAT(Found([&] { ops::Add(context_, wide, wide); }), HasSubstr("check: add wrote"));

  const Tensor x = RandomTensor(plain_, {2, 12}, DType::kF32, 3);
  const Tensor table = ops::RopeTable(context_, 4, 4, 10000, DType::kF32), positions = IntTensor(plain_, {0, 3});
  const auto rotate = [&] { ops::Rope(context_, x.Columns(0, 8), 4, positions, table, false); };
  SetElement(plain_, x, 11, kNan);
  EXPECT_EQ(Found(rotate), "") << "not among its columns";
  SetElement(plain_, x, 7, kNan);
  EXPECT_THAT(Found(rotate),
              AllOf(HasSubstr("check: rope wrote"), HasSubstr("x f32[2, 8]"), Not(HasSubstr("finite;"))));
}

// A limit of infinity, a banned token: they mean something where they are written.
TEST_F(CheckedBackendTest, LetsInfinitiesPassThatMeanSomething) {
  std::vector<double> control(ops::kAdamWControls, 0.5);
  control[ops::kClipNorm] = control[ops::kLargestNorm] = kInfinity;
  const auto upload = [&] { return context_.FromHost(control.data(), {ops::kAdamWControls}, DType::kF64); };
  const Tensor square_sum = FromDoubles(plain_, {4}, {1}, DType::kF64), none = plain_.get().Empty({0}, DType::kF64);
  EXPECT_EQ(Found([&] { ops::Clip(context_, square_sum, none, upload()); }), "");
  SetElement(plain_, square_sum, 0, kNan);
  EXPECT_THAT(Found([&] { ops::Clip(context_, square_sum, none, upload()); }), HasSubstr("check: clip wrote"));
  control[0] = kNan;
  EXPECT_THAT(Found(upload), HasSubstr("check: copy_from_host wrote"));
}

TEST(CheckedDevice, ChecksAndRecordsNothing) {
  std::unique_ptr<OpenedDevice> cpu = *OpenedDevice::Open("cpu");
  const std::string description = cpu->Description();
  const std::unique_ptr<OpenedDevice> device = CheckedDevice(std::move(cpu));
  EXPECT_EQ(device->Description(), description + ", each operation checked");
  EXPECT_FALSE(device->records());
  const Context context = device->MakeContext(nullptr);
  const Tensor x = context.Zeros({2}, DType::kF32);
  x.data<float>()[1] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(ops::Cast(context, x, context.Empty({2}, DType::kF32)), NotFinite);
}

}  // namespace
}  // namespace photon
