// A device that does nothing: memory is counted as on one that does, operations are told with their cost, operands are
// checked all the same.
#include "core/dry/dry_device.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "core/dry/operation_time.h"
#include "core/ops/matmul.h"
#include "core/ops/memory.h"
#include "core/ops/swiglu.h"
#include "core/tape.h"

namespace photon::dry {
namespace {

class Listing final : public Listener {
 public:
  struct Entry {
    std::string name;
    DType dtype;
    double flops, bytes;
    int64_t m, n, k;
    uint64_t signature;
  };
  void Did(const Operation& o) override {
    entries.push_back({std::string(o.name), o.dtype, o.flops, o.bytes, o.m, o.n, o.k, o.signature});
  }
  std::vector<Entry> entries;
};

class DryDeviceTest : public ::testing::Test {
 protected:
  Listing listing_;
  DryDevice device_{1000, listing_};
  Context context_ = device_.MakeContext(nullptr);

  Listing::Entry Last() const { return listing_.entries.back(); }
};

// A little of everything that allocates: sizes that are no multiples of the arena's, temporaries, views that outlive.
void Work(const Context& context) {
  ParameterSet parameters;
  const Weight* w = parameters.Add({{"w", {30, 20}, {}, true, {}}}, true);
  parameters.Allocate(context, {.compute = DType::kBF16});
  Tape tape(context, Tape::Mode::kRecord);
  const Var x = tape.Leaf(context.Zeros({70, 20}, DType::kF32));
  const Var y = ops::SwiGlu(tape, ops::Linear(tape, x, *w, nullptr, DType::kBF16));
  y.slot->Accumulate(context, context.Zeros(y.value.shape(), DType::kBF16));
  tape.Backward();
}

TEST_F(DryDeviceTest, MemoryIsThatOfARealRun) {
  // Of the same operations: a CPU's take workspaces besides, as its library and its threads want.
  Arena arena;
  Work(Context({}, context_.backend(), arena));
  Work(context_);
  const Arena& dry = device_.allocator().main();
  EXPECT_EQ(dry.peak(), arena.peak());
  EXPECT_EQ(dry.in_use(), arena.in_use());
  EXPECT_EQ(dry.reserved(), arena.reserved());
  EXPECT_GT(dry.peak(), 10000u);
}

TEST_F(DryDeviceTest, NeedsNoMemory) {
  const Tensor huge = context_.Zeros({int64_t{1} << 45}, DType::kF32);  // 128 TiB
  EXPECT_EQ(device_.allocator().main().in_use(), size_t{1} << 47);
  EXPECT_EQ(Last().bytes, 0x1p47);
}

TEST_F(DryDeviceTest, WhatIsReadIsZero) {
  std::vector<float> values = {1, 2, 3};
  const Tensor t = context_.FromHost(values.data(), {3}, DType::kF32);
  context_.ToHost(t, values.data());
  EXPECT_EQ(values, std::vector<float>(3));
}

TEST_F(DryDeviceTest, OperandsAreChecked) {
  const Tensor a = context_.Empty({3, 4}, DType::kF32), b = context_.Empty({5, 6}, DType::kF32);
  EXPECT_EXIT(ops::MatMul(context_, a, false, b, false, {}, 0, context_.Empty({3, 6}, DType::kF32)),
              ::testing::ExitedWithCode(1), "matmul");
}

TEST_F(DryDeviceTest, ProductsCost) {
  const auto empty = [&](int64_t rows, int64_t columns, DType dtype) { return context_.Empty({rows, columns}, dtype); };
  ops::MatMul(context_, empty(7, 5, DType::kBF16), true, empty(11, 7, DType::kBF16), true, {}, 0,
              empty(5, 11, DType::kF32));
  EXPECT_EQ(Last().name, "matmul");
  EXPECT_EQ(Last().dtype, DType::kBF16);
  EXPECT_EQ(Last().flops, 2 * 5 * 11 * 7);
  EXPECT_EQ(Last().bytes, 2 * 7 * 5 + 2 * 11 * 7 + 4 * 5 * 11);
  EXPECT_EQ(std::vector({Last().m, Last().n, Last().k}), std::vector<int64_t>({5, 11, 7}));
  ops::MatMul(context_, empty(7, 5, DType::kBF16), true, empty(11, 7, DType::kBF16), true, {}, 1,
              empty(5, 11, DType::kF32));
  EXPECT_EQ(Last().bytes, 2 * 7 * 5 + 2 * 11 * 7 + 8 * 5 * 11);  // C is read too
}

// Pairs counted one by one.
TEST_F(DryDeviceTest, AttentionCosts) {
  ops::AttentionShape shape;
  shape.batch = 3;
  shape.length = 5;
  shape.keys = 9;
  shape.offset = 4;
  shape.heads = 2;
  shape.kv_heads = 1;
  shape.head_dim = 8;
  int64_t pairs = 0;
  for (int64_t i = 0; i < shape.length; ++i) pairs += shape.batch * (shape.offset + i + 1);
  const Tensor q = context_.Empty({15, 16}, DType::kF32), k = context_.Empty({27, 8}, DType::kF32);
  const Tensor lse = context_.Empty({2, 15}, DType::kF32);
  ops::AttentionForward(context_, q, k, k, shape, q, lse);
  EXPECT_EQ(Last().flops, 2 * 2.0 * 8 * 2 * static_cast<double>(pairs));
  ops::AttentionBackward(context_, q, q, k, k, q, lse, shape, q, k, k);
  EXPECT_EQ(Last().flops, 5 * 2.0 * 8 * 2 * static_cast<double>(pairs));
}

TEST_F(DryDeviceTest, TheTableHasNoHoles) {
  using Entry = void (*)();
  constexpr size_t kEntries = sizeof(Backend) / sizeof(Entry);
  Entry entries[kEntries];
  std::memcpy(entries, &context_.backend(), sizeof(entries));
  for (size_t i = 0; i < kEntries; ++i) EXPECT_NE(entries[i], nullptr) << "entry " << i;
}

TEST_F(DryDeviceTest, SignaturesTellOperationsApart) {
  const auto of = [&](int64_t n, bool transpose, DType dtype, int64_t width) {
    const Tensor a = context_.Empty({n, width}, dtype).Columns(0, n);
    ops::MatMul(context_, a, transpose, a, false, {}, 0, context_.Empty({n, n}, dtype));
    return Last().signature;
  };
  EXPECT_EQ(of(4, false, DType::kF32, 4), of(4, false, DType::kF32, 4));
  const std::map<uint64_t, int> all = {{of(4, false, DType::kF32, 4), 0},
                                       {of(4, true, DType::kF32, 4), 0},
                                       {of(8, false, DType::kF32, 8), 0},
                                       {of(4, false, DType::kBF16, 4), 0},
                                       {of(4, false, DType::kF32, 8), 0}};
  EXPECT_EQ(all.size(), 5u);
}

class Timing final : public Listener {
 public:
  explicit Timing(OperationTime& time) : time_(time) {}
  void Did(const Operation& operation) override { seconds.push_back(time_.Seconds(operation)); }
  std::vector<double> seconds;

 private:
  OperationTime& time_;
};

TEST(OperationTime, RooflineTakesTheLongerSide) {
  DeviceFigures figures = *FiguresOf("h200");
  figures.launch = 0;
  FiguredTime time(figures);
  Timing timing(time);
  DryDevice device(0, timing);
  const Context context = device.MakeContext(nullptr);
  const auto product = [&](int64_t m, int64_t n, int64_t k) {
    const Tensor a = context.Empty({m, k}, DType::kBF16), b = context.Empty({k, n}, DType::kBF16);
    ops::MatMul(context, a, false, b, false, {}, 0, context.Empty({m, n}, DType::kBF16));
    return timing.seconds.back();
  };
  // Large: computing, at no more than the share of the peak. One row: the matrix is read once.
  const double large = 2 * 0x1p39 / product(8192, 8192, 8192);
  EXPECT_LT(large, figures.product_share * figures.peak_bf16);
  EXPECT_GT(large, 0.8 * figures.product_share * figures.peak_bf16);
  const double matrix = 2.0 * 16896 * 8192;  // bytes; 132 tiles: none of the multiprocessors idles
  EXPECT_NEAR(product(1, 16896, 8192), matrix / (figures.memory_bandwidth * figures.bandwidth_share),
              1e-3 * product(1, 16896, 8192));
  // A tile that is half empty takes as long as a full one, where computing is the longer side.
  EXPECT_DOUBLE_EQ(product(192, 16896, 65536), product(256, 16896, 65536));
}

TEST(OperationTime, KnowsDevices) {
  for (const std::string& name : KnownDevices()) EXPECT_GT(FiguresOf(name)->peak_bf16, 1e14) << name;
  EXPECT_EQ(FiguresOf("h20").status().message(), "no figures of a device \"h20\"; did you mean \"h200\"?");
}

TEST(OperationTime, MeasuresEachOperationOnce) {
  MeasuredTime time(2);
  Timing timing(time);
  DryDevice device(0, timing);
  const Context context = device.MakeContext(nullptr);
  const Tensor a = context.Empty({256, 256}, DType::kF32);
  for (int i = 0; i < 3; ++i) ops::MatMul(context, a, false, a, false, {}, 0, context.Empty({256, 256}, DType::kF32));
  const Tensor small = context.Empty({16, 16}, DType::kF32);
  ops::MatMul(context, small, false, small, false, {}, 0, context.Empty({16, 16}, DType::kF32));
  EXPECT_GT(timing.seconds[0], 0);
  EXPECT_EQ(timing.seconds[0], timing.seconds[2]);
  EXPECT_LT(timing.seconds[3], timing.seconds[0]);  // a 4096th of the work
}

}  // namespace
}  // namespace photon::dry
