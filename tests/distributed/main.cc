// main() of tests under mpirun. Rank 0 reports as usual; the others print their failures only, with their rank. A rank
// that hangs, because another failed an assertion and left the test, is ended by a watchdog.
#include <gtest/gtest.h>

#include <cstdio>

#include "parallel/watchdog.h"
#include "tests/distributed/world.h"

namespace photon::testing {
namespace {

constexpr double kHangSeconds = 60;

class FailuresOnly : public ::testing::EmptyTestEventListener {
 public:
  explicit FailuresOnly(int rank) : rank_(rank) {}

 private:
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) return;
    const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::fprintf(stderr, "rank %d, %s.%s: %s:%d: %s\n", rank_, test == nullptr ? "-" : test->test_suite_name(),
                 test == nullptr ? "-" : test->name(), result.file_name() == nullptr ? "?" : result.file_name(),
                 result.line_number(), result.message());
  }

  const int rank_;
};

}  // namespace

Communicator& World() {
  static const std::unique_ptr<Communicator> world = [] {
    absl::StatusOr<std::unique_ptr<Communicator>> made = MpiWorld();
    PHOTON_CHECK(made.ok()) << made.status();
    return *std::move(made);
  }();
  return *world;
}

}  // namespace photon::testing

int main(int argc, char** argv) {
  using photon::testing::World;
  ::testing::InitGoogleTest(&argc, argv);
  const int rank = World().rank();
  if (rank != 0) {
    ::testing::TestEventListeners& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new photon::testing::FailuresOnly(rank));
  }
  photon::Watchdog watchdog({&World()}, photon::testing::kHangSeconds);
  const int result = RUN_ALL_TESTS();
  // All wait for all before one exits with an error: mpirun then kills the rest, and their reports would be lost.
  const absl::StatusOr<double> worst =
      photon::AllReduceScalar(World(), "test results", result, photon::Reduction::kMax);
  return worst.ok() && *worst == 0 ? 0 : 1;
}
