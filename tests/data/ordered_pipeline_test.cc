#include "data/ordered_pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace photon {
namespace {

constexpr int kItems = 300;

// Items 0, 1, .. of cost 1 + i % 7 (every 50th: 40), a slow worker now and then. Returns the largest cost that was seen
// between `produce` and the return of `consume`, less the item that waits for room.
int64_t LargestUnderWay(int threads, int64_t budget, std::vector<int>* consumed) {
  const auto cost_of = [](int i) { return i % 50 == 49 ? int64_t{40} : int64_t{1 + i % 7}; };
  int next = 0;
  std::atomic<int64_t> under_way = 0, largest = 0;
  const absl::Status status = OrderedPipeline<int, int>(threads, budget)
                                  .Run(
                                      [&]() -> absl::StatusOr<std::optional<int>> {
                                        if (next == kItems) return std::optional<int>();
                                        // What came before this call has found room by now.
                                        largest = std::max(largest.load(), under_way.load());
                                        under_way += cost_of(next);
                                        return std::optional<int>(next++);
                                      },
                                      [&](int i) { return cost_of(i); },
                                      [](int, int i) {
                                        if (i % 31 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
                                        return i;
                                      },
                                      [&](int i) {
                                        if (i % 17 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
                                        consumed->push_back(i);
                                        under_way -= cost_of(i);
                                        return absl::OkStatus();
                                      });
  EXPECT_TRUE(status.ok()) << status;
  return largest;
}

TEST(OrderedPipeline, KeepsTheOrderAndTheBudget) {
  for (const int threads : {1, 3}) {
    std::vector<int> consumed;
    EXPECT_LE(LargestUnderWay(threads, 10, &consumed), 40) << "a single item may be larger than the budget";
    ASSERT_EQ(consumed.size(), static_cast<size_t>(kItems));
    for (int i = 0; i < kItems; ++i) EXPECT_EQ(consumed[i], i);
    consumed.clear();
    EXPECT_LE(LargestUnderWay(threads, 45, &consumed), 45);
  }
}

TEST(OrderedPipeline, AnItemLargerThanTheBudgetGoesAlone) {
  bool consuming = false;
  int produced = 0;
  std::atomic<bool> overlapped = false;
  const absl::Status status = OrderedPipeline<int, int>(2, 10).Run(
      [&]() -> absl::StatusOr<std::optional<int>> {
        return produced < 20 ? std::optional<int>(produced++) : std::nullopt;
      },
      [](int) { return int64_t{100}; },
      [&](int, int i) {
        if (consuming) overlapped = true;  // ordered by the pipeline's mutex where it keeps its word
        return i;
      },
      [&](int) {
        consuming = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        consuming = false;
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_FALSE(overlapped) << "worked on one while another was being consumed";
}

TEST(OrderedPipeline, TheFirstErrorInTheOrderOfItemsIsReturned) {
  int next = 0;
  std::vector<int> consumed;
  const absl::Status status = OrderedPipeline<int, int>(3, 100).Run(
      [&]() -> absl::StatusOr<std::optional<int>> {
        if (next == 20) return absl::DataLossError("produce");
        return std::optional<int>(next++);
      },
      [](int) { return int64_t{1}; }, [](int, int i) { return i; },
      [&](int i) -> absl::Status {
        consumed.push_back(i);
        return i == 5 ? absl::AbortedError("consume") : absl::OkStatus();
      });
  EXPECT_EQ(status.message(), "consume");
  EXPECT_EQ(consumed.size(), 6u);
}

}  // namespace
}  // namespace photon
