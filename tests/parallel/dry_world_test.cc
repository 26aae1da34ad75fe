// Ranks in a dry run: groups, what is written down, and what playing it finds.
#include "parallel/dry/dry_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/dry/replay.h"
#include "parallel/mesh.h"
#include "tests/parallel/threads.h"

namespace photon::dry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ParallelConfig Axes(int dp, int pp, int cp, int tp) {
  ParallelConfig config;
  config.set_dp(dp);
  config.set_pp(pp);
  config.set_cp(cp);
  config.set_tp(tp);
  return config;
}

const CallTime kASecond = [](const TracedCall&, const std::vector<int>&) { return 1.0; };

// What every rank does with its communicator of all ranks.
using Program = std::function<void(Communicator& world, Recorder& recorder)>;

absl::StatusOr<std::vector<RankTime>> PlayProgram(int ranks, const Program& program) {
  const auto world = *DryWorld::Create(ranks, [](Communicator&) { return absl::OkStatus(); });
  std::vector<Played> played;
  std::vector<std::unique_ptr<Recorder>> recorders;
  for (int rank = 0; rank < ranks; ++rank) {
    recorders.push_back(std::make_unique<Recorder>(*world, rank));
    const auto comm = recorders.back()->World();
    program(*comm, *recorders.back());
    played.push_back({rank, 0, std::make_shared<Trace>(recorders.back()->Take()), recorders.back()->groups()});
  }
  return Replay(played, world->descriptions(), kASecond);
}

std::string Fault(int ranks, const Program& program) {
  const auto times = PlayProgram(ranks, program);
  EXPECT_FALSE(times.ok());
  return std::string(times.status().message());
}

Tensor Wrapped(std::vector<float>& values) {
  return Tensor::Wrap(values.data(), {static_cast<int64_t>(values.size())}, DType::kF32);
}

// Every group of every mesh has the ranks that it has where ranks are threads.
TEST(DryWorld, GroupsAreThoseOfThreads) {
  for (const auto& config : {Axes(2, 2, 2, 2), Axes(3, 1, 2, 2), Axes(1, 4, 1, 2), Axes(8, 1, 1, 1)}) {
    const int ranks = config.dp() * config.pp() * config.cp() * config.tp();
    const auto world = *DryWorld::Create(ranks, [&](Communicator& w) { return Mesh::Create(w, config).status(); });
    std::vector<std::vector<int>> places(ranks);
    photon::testing::OnThreads(ranks, [&](Communicator& comm) {
      const Mesh mesh = *Mesh::Create(comm, config);
      for (Communicator* group : mesh.groups()) {
        places[comm.rank()].push_back(group->rank());
        places[comm.rank()].push_back(group->size());
      }
    });
    for (int rank = 0; rank < ranks; ++rank) {
      Recorder recorder(*world, rank);
      const auto comm = recorder.World();
      const Mesh mesh = *Mesh::Create(*comm, config);
      std::vector<int> dry;
      for (Communicator* group : mesh.groups()) {
        dry.push_back(group->rank());
        dry.push_back(group->size());
      }
      EXPECT_EQ(dry, places[rank]) << rank;
    }
  }
}

TEST(DryWorld, BytesAreThoseOfARealRun) {
  const auto program = [](Communicator& comm) {
    std::vector<float> values(12), part(4), seven(7);
    EXPECT_TRUE(comm.AllReduce("a", Wrapped(seven), Reduction::kSum).ok());
    EXPECT_TRUE(comm.AllGather("b", Wrapped(part), Wrapped(values)).ok());
    EXPECT_TRUE(comm.ReduceScatter("c", Wrapped(values), Wrapped(part)).ok());
    EXPECT_TRUE(comm.Broadcast("d", Wrapped(values), 1).ok());
    if (comm.rank() == 0) {
      EXPECT_TRUE(comm.Post("e", Wrapped(part), 2, 1).ok());
      EXPECT_TRUE(comm.FinishPosts().ok());
    }
    if (comm.rank() == 2) {
      EXPECT_TRUE(comm.Receive("e", Wrapped(part), 0, 1).ok());
    }
    return comm.bytes_sent();
  };
  std::vector<int64_t> real(3), dry(3);
  photon::testing::OnThreads(3, [&](Communicator& comm) { real[comm.rank()] = program(comm); });
  ASSERT_TRUE(PlayProgram(3, [&](Communicator& comm, Recorder&) { dry[comm.rank()] = program(comm); }).ok());
  EXPECT_EQ(dry, real);
}

TEST(Replay, CollectivesEndWithTheLast) {
  const auto times = *PlayProgram(3, [](Communicator& comm, Recorder& recorder) {
    std::vector<float> values(2);
    recorder.Compute(1 + comm.rank());
    EXPECT_TRUE(comm.AllReduce("x", Wrapped(values), Reduction::kSum).ok());
    recorder.Compute(10);
  });
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_DOUBLE_EQ(times[rank].finished, 3 + 1 + 10);
    EXPECT_DOUBLE_EQ(times[rank].computing, 11 + rank);
    EXPECT_DOUBLE_EQ(times[rank].communicating[0], 1);
    EXPECT_DOUBLE_EQ(times[rank].waiting[0], 2 - rank);
  }
}

TEST(Replay, PostedMessagesMoveWhileOthersCompute) {
  const auto times = *PlayProgram(2, [](Communicator& comm, Recorder& recorder) {
    std::vector<float> values(2);
    if (comm.rank() == 0) {
      EXPECT_TRUE(comm.Post("x", Wrapped(values), 1, 0).ok());
      recorder.Compute(2);
      return;
    }
    recorder.Compute(5);
    EXPECT_TRUE(comm.Receive("x", Wrapped(values), 0, 0).ok());
  });
  EXPECT_DOUBLE_EQ(times[0].finished, 2);
  EXPECT_DOUBLE_EQ(times[1].finished, 5);
}

TEST(Replay, SentMessagesWaitForTheirReceiver) {
  const auto times = *PlayProgram(2, [](Communicator& comm, Recorder& recorder) {
    std::vector<float> values(2);
    if (comm.rank() == 0) {
      EXPECT_TRUE(comm.Send("x", Wrapped(values), 1, 0).ok());
      return;
    }
    recorder.Compute(5);
    EXPECT_TRUE(comm.Receive("x", Wrapped(values), 0, 0).ok());
  });
  EXPECT_DOUBLE_EQ(times[0].finished, 6);
  EXPECT_DOUBLE_EQ(times[1].finished, 6);
}

TEST(Replay, NamesCallsThatDoNotMatch) {
  const auto with = [](auto call) {
    return Fault(4, [&](Communicator& comm, Recorder&) {
      std::vector<float> values(2);
      EXPECT_TRUE(comm.AllReduce("first", Wrapped(values), Reduction::kSum).ok());
      EXPECT_TRUE(call(comm).ok());
    });
  };
  std::vector<float> values(8);
  EXPECT_THAT(with([&](Communicator& comm) {
                return comm.AllReduce("x", Tensor::Wrap(values.data(), {comm.rank() == 2 ? 3 : 4}, DType::kF32),
                                      Reduction::kSum);
              }),
              AllOf(HasSubstr("calls do not match: rank "), HasSubstr("(among ranks 0 1 2 3): all-reduce x f32[4]"),
                    HasSubstr("rank 2's call #2 (among ranks 0 1 2 3): all-reduce x f32[3]")));
  EXPECT_THAT(with([&](Communicator& comm) {
                return comm.AllReduce("x", Wrapped(values), comm.rank() == 3 ? Reduction::kMax : Reduction::kSum);
              }),
              HasSubstr("rank 3's call #2"));
  EXPECT_THAT(with([&](Communicator& comm) { return comm.Broadcast("x", Wrapped(values), comm.rank() / 2); }),
              HasSubstr("broadcast from 1 of x"));
  EXPECT_THAT(with([&](Communicator& comm) {
                return comm.rank() == 1 ? comm.Barrier("y") : comm.AllReduce("x", Wrapped(values), Reduction::kSum);
              }),
              HasSubstr("barrier y"));
  EXPECT_THAT(with([&](Communicator& comm) {
                return comm.AllReduce(comm.rank() == 1 ? "keys" : "values", Wrapped(values), Reduction::kSum);
              }),
              HasSubstr("all-reduce keys"));
}

TEST(Replay, NamesRanksThatWouldWaitForEver) {
  EXPECT_THAT(Fault(3,
                    [](Communicator& comm, Recorder&) {
                      std::vector<float> values(2);
                      if (comm.rank() == 1) return;
                      EXPECT_TRUE(comm.AllReduce("x", Wrapped(values), Reduction::kSum).ok());
                    }),
              HasSubstr("2 rank(s) would wait for ever; rank 0's call #1 (among ranks 0 1 2): all-reduce x f32[2]"));
  // Each sends first and receives then: with messages that wait for their receiver nobody gets on.
  EXPECT_THAT(Fault(2,
                    [](Communicator& comm, Recorder&) {
                      std::vector<float> values(2);
                      EXPECT_TRUE(comm.Send("x", Wrapped(values), 1 - comm.rank(), 0).ok());
                      EXPECT_TRUE(comm.Receive("x", Wrapped(values), 1 - comm.rank(), 0).ok());
                    }),
              HasSubstr("2 rank(s) would wait for ever"));
  // Finishing what was posted waits for receivers.
  EXPECT_THAT(Fault(2,
                    [](Communicator& comm, Recorder&) {
                      std::vector<float> values(2);
                      EXPECT_TRUE(comm.Post("x", Wrapped(values), 1 - comm.rank(), 0).ok());
                      EXPECT_TRUE(comm.FinishPosts().ok());
                      EXPECT_TRUE(comm.Receive("x", Wrapped(values), 1 - comm.rank(), 0).ok());
                    }),
              HasSubstr("2 rank(s) would wait for ever; rank 0's call #2 (among ranks 0 1): finish posts"));
}

TEST(Replay, NamesMessagesThatDoNotMeet) {
  const auto with = [](int from, int tag, int64_t size) {
    return Fault(3, [&](Communicator& comm, Recorder&) {
      std::vector<float> values(2), received(size);
      if (comm.rank() == 0) {
        EXPECT_TRUE(comm.Post("x", Wrapped(values), 2, 5).ok());
      }
      if (comm.rank() == 2 && size > 0) {
        EXPECT_TRUE(comm.Receive("y", Wrapped(received), from, tag).ok());
      }
    });
  };
  EXPECT_THAT(with(0, 5, 3),
              HasSubstr("post to 2 tag 5 x f32[2]; rank 2's call #1 (among ranks 0 1 2): receive from 0"));
  EXPECT_THAT(with(0, 6, 2), HasSubstr("1 rank(s) would wait for ever; rank 2's call #1"));
  EXPECT_THAT(with(1, 5, 2), HasSubstr("1 rank(s) would wait for ever; rank 2's call #1"));
  EXPECT_THAT(with(0, 5, 0), HasSubstr("a message that nobody receives: rank 0's call #1"));
}

// Groups that cross each other, in different orders: every group's calls match, and still nobody gets on.
TEST(Replay, FindsACircleOfCollectives) {
  const ParallelConfig config = Axes(2, 1, 1, 2);
  const auto world = *DryWorld::Create(4, [&](Communicator& w) { return Mesh::Create(w, config).status(); });
  const auto run = [&](bool crossed) {
    std::vector<Played> played;
    std::vector<std::unique_ptr<Recorder>> recorders;
    for (int rank = 0; rank < 4; ++rank) {
      recorders.push_back(std::make_unique<Recorder>(*world, rank));
      const auto comm = recorders.back()->World();
      const Mesh mesh = *Mesh::Create(*comm, config);
      std::vector<float> values(2);
      std::vector<Communicator*> groups = {&mesh.axis(MeshAxis::kDp), &mesh.axis(MeshAxis::kTp)};
      if (crossed && (rank == 1 || rank == 2)) std::swap(groups[0], groups[1]);
      for (Communicator* group : groups) EXPECT_TRUE(group->AllReduce("x", Wrapped(values), Reduction::kSum).ok());
      played.push_back({rank, 0, std::make_shared<Trace>(recorders.back()->Take()), recorders.back()->groups()});
    }
    return Replay(played, world->descriptions(), kASecond).status();
  };
  EXPECT_TRUE(run(false).ok()) << run(false);
  EXPECT_THAT(std::string(run(true).message()), HasSubstr("4 rank(s) would wait for ever"));
}

}  // namespace
}  // namespace photon::dry
