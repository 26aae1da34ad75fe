// Gradients that are reduced during the backward pass are, to the bit, those that are reduced after it.
#include "train/gradient_reducer.h"

#include <gmock/gmock.h>

#include "tests/train/training_run.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::HasSubstr;

class GradientReducerTest : public ::testing::Test {
 protected:
  const TemporaryFolder folder_;
  const std::shared_ptr<const TokenFile> tokens_ = WriteTokens(folder_ / "tokens");
};

TEST_F(GradientReducerTest, OverlappedTrainingIsTheSameToTheBit) {
  struct Case {
    int ranks, micro;
    bool recompute;
    const char* dtype;
  };
  for (const Case& c :
       {Case{2, 6, false, "f32"}, Case{2, 2, false, "bf16"}, Case{3, 4, true, "f32"}, Case{4, 1, false, "bf16"}}) {
    SCOPED_TRACE(::testing::Message() << c.ranks << " ranks, micro-batches of " << c.micro << ", " << c.dtype);
    RunConfig config = TinyRun(folder_ / "run");
    config.mutable_training()->set_micro_batch_sequences(c.micro);
    config.mutable_training()->set_recompute(c.recompute);
    config.mutable_training()->set_dtype(c.dtype);
    const Outcome plain = TrainSteps(c.ranks, config, tokens_, 3);
    config.mutable_parallel()->set_overlap_reduction(true);
    for (const double mb : {1e-5, 0.004, 1000.0}) {  // a bucket a parameter, some, one for all
      SCOPED_TRACE(mb);
      config.mutable_parallel()->set_bucket_mb(mb);
      ExpectSameBits(TrainSteps(c.ranks, config, tokens_, 3), plain);
    }
  }
}

ParallelConfig Overlapping(bool overlap) {
  ParallelConfig config;
  config.set_overlap_reduction(overlap);
  return config;
}

// A set of three parameters with gradients rank + 1, and what `body` does with its reducer on each rank.
using Body = std::function<absl::Status(GradientReducer& reducer, ParameterSet& parameters, int rank)>;
std::vector<absl::Status> OnRanks(int ranks, bool overlap, const Body& body) {
  const std::vector<std::unique_ptr<Communicator>> comms = ThreadCommunicators(ranks);
  std::vector<absl::Status> statuses(ranks);
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      Arena arena;
      const Context context(Device{}, CpuBackend(), arena);
      const Mesh mesh = *Mesh::Create(*comms[r], Overlapping(overlap));
      ParameterSet parameters;
      for (const char* name : {"a", "b", "c"}) parameters.Add({{name, {100}, {}, false, {}}});
      parameters.Allocate(context, {.at = mesh.at(), .bucket_bytes = 4});
      for (int64_t i = 0; i < parameters.gradient().elements(); ++i)
        parameters.gradient().data<float>()[i] = static_cast<float>(r + 1);
      GradientReducer reducer(context, parameters, mesh);
      statuses[r] = body(reducer, parameters, r);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

TEST_F(GradientReducerTest, BucketsWithoutAnnouncementAreReducedAtTheEnd) {
  for (const bool overlap : {false, true}) {
    const auto statuses = OnRanks(2, overlap, [&](GradientReducer& reducer, ParameterSet& parameters, int) {
      for (float want : {3.0f, 6.0f}) {  // 1 + 2; then what both ranks have, twice
        const Tape::GradientHook hook = reducer.Begin().complete;
        EXPECT_EQ(hook != nullptr, overlap);
        if (overlap) hook(*parameters.Find("b"));
        const absl::Status finished = reducer.Finish();
        if (!finished.ok()) return finished;
        for (const double g : Doubles(parameters.Find("a")->gradient)) EXPECT_EQ(g, want);
        for (const double g : Doubles(parameters.Find("b")->gradient)) EXPECT_EQ(g, want);
        EXPECT_EQ(reducer.busy().size(), overlap ? 3u : 0u);
      }
      return absl::OkStatus();
    });
    for (const absl::Status& status : statuses) EXPECT_TRUE(status.ok()) << status;
  }
}

TEST_F(GradientReducerTest, AnotherOrderOnAnotherRankIsAnError) {
  const auto statuses = OnRanks(2, true, [](GradientReducer& reducer, ParameterSet& parameters, int rank) {
    const Tape::GradientHook hook = reducer.Begin().complete;
    hook(*parameters.Find(rank == 0 ? "a" : "c"));
    return reducer.Finish();
  });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("overlap_reduction: false"));
  }
}

TEST_F(GradientReducerTest, CompleteTwiceIsAnError) {
  const auto statuses = OnRanks(2, true, [](GradientReducer& reducer, ParameterSet& parameters, int) {
    for (int step = 0; step < 2; ++step) {
      const Tape::GradientHook hook = reducer.Begin().complete;
      hook(*parameters.Find("b"));
      if (step == 1) hook(*parameters.Find("b"));
      const absl::Status finished = reducer.Finish();
      if (step == 1 || !finished.ok()) return finished;
    }
    return absl::OkStatus();
  });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("gradient of b was called complete twice"));
  }
}

TEST_F(GradientReducerTest, OneRankNeedsNoThread) {
  for (const absl::Status& status : OnRanks(1, true, [](GradientReducer&reducer, ParameterSet&parameters, int) {
         EXPECT_EQ(reducer.Begin().complete, nullptr);
         const absl::Status finished = reducer.Finish();
         for (const double g : Doubles(parameters.gradient())) EXPECT_EQ(g, 1);
         return finished;
       })) {
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST_F(GradientReducerTest, AFailureOfTheThreadIsTheStepsFailure) {
  // A communicator that fails: the tensors of the two ranks differ in size.
  const std::vector<std::unique_ptr<Communicator>> comms = ThreadCommunicators(2);
  std::vector<absl::Status> statuses(2);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      Arena arena;
      const Context context(Device{}, CpuBackend(), arena);
      const Mesh mesh = *Mesh::Create(*comms[r], Overlapping(true));
      ParameterSet parameters;
      parameters.Add({{"a", {100 + 100 * r}, {}, false, {}}});
      parameters.Allocate(context, {.at = mesh.at()});
      GradientReducer reducer(context, parameters, mesh);
      reducer.Begin();
      statuses[r] = reducer.Finish();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("gradient bucket 0"));
  }
}

}  // namespace
}  // namespace photon
