#include "launch/environment.h"

#include <gtest/gtest.h>

#include <map>

#include "launch/exit_code.h"
#include "launch/threads.h"

namespace photon {
namespace {

Environment Table(std::map<std::string, std::string> table) {
  return [table = std::move(table)](const char* name) -> const char* {
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second.c_str();
  };
}

TEST(Environment, NoLauncher) {
  EXPECT_EQ(LauncherRank(Table({})), 0);
  EXPECT_EQ(LocalRanks(Table({})), 1);
  EXPECT_EQ(ThreadsForRank(6, Table({})), 6);
}

TEST(Environment, OpenMpi) {
  // SLURM's variables of the surrounding job don't count: mpirun started the ranks.
  const Environment env = Table({{"OMPI_COMM_WORLD_RANK", "3"},
                                 {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                                 {"SLURM_PROCID", "0"},
                                 {"SLURM_STEP_TASKS_PER_NODE", "1"},
                                 {"SLURM_CPU_BIND_TYPE", "mask_cpu:"}});
  EXPECT_EQ(LauncherRank(env), 3);
  EXPECT_EQ(LocalRanks(env), 4);
  EXPECT_EQ(ThreadsForRank(16, env), 4);
  EXPECT_EQ(ThreadsForRank(2, env), 1);
}

TEST(Environment, ARankOfAFolderKnowsItself) {
  const Environment env = Table({{"PHOTON_RANK", "2"}, {"PHOTON_LOCAL_RANK", "1"}, {"SLURM_LOCALID", "0"}});
  EXPECT_EQ(LauncherRank(env), 2);
  EXPECT_EQ(LocalRank(env), 1);
  EXPECT_EQ(LocalRank(Table({{"PHOTON_RANK", "2"}})), 0);
}

TEST(Environment, BoundRanksKeepTheirCores) {
  EXPECT_EQ(ThreadsForRank(8, Table({{"OMPI_COMM_WORLD_RANK", "0"},
                                     {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                     {"OMPI_MCA_orte_bound_at_launch", "1"}})),
            8);
  EXPECT_EQ(
      ThreadsForRank(
          8, Table({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS_PER_NODE", "2"}, {"SLURM_CPU_BIND_TYPE", "mask_cpu:"}})),
      8);
}

TEST(Environment, SlurmCountsRanksNodeByNode) {
  const auto ranks = [](const char* list, const char* node) {
    return LocalRanks(
        Table({{"SLURM_STEP_TASKS_PER_NODE", list}, {"SLURM_NODEID", node}, {"SLURM_NTASKS_PER_NODE", "9"}}));
  };
  EXPECT_EQ(ranks("4(x2),1", "0"), 4);
  EXPECT_EQ(ranks("4(x2),1", "1"), 4);
  EXPECT_EQ(ranks("4(x2),1", "2"), 1);
  EXPECT_EQ(ranks("3", "0"), 3);
  EXPECT_EQ(ranks("nonsense", "0"), 9);
  EXPECT_EQ(LauncherRank(Table({{"SLURM_PROCID", "5"}})), 5);
}

TEST(Environment, NonsenseIsPassedOver) {
  EXPECT_EQ(LocalRanks(Table({{"OMPI_COMM_WORLD_LOCAL_SIZE", "0"}})), 1);
  EXPECT_EQ(LauncherRank(Table({{"OMPI_COMM_WORLD_RANK", "x"}, {"PMI_RANK", "2"}})), 2);
}

TEST(BoundSpinning, StartsNothingAnewThatIsNotThisProgramOrIsWatched) {
  EXPECT_TRUE(CanStartAnew("/usr/bin/photon", Table({})));
  EXPECT_TRUE(CanStartAnew("/ld-builds/photon", Table({{"LD_PRELOAD", "/usr/lib/libjemalloc.so.2"}})));
  EXPECT_FALSE(CanStartAnew("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", Table({})));
  EXPECT_FALSE(CanStartAnew("/lib/ld.so.1", Table({})));
  EXPECT_FALSE(CanStartAnew("/usr/bin/photon", Table({{"LD_PRELOAD",
                                                       "/usr/libexec/valgrind/vgpreload_core-amd64-linux.so:"
                                                       "/usr/libexec/valgrind/vgpreload_memcheck.so"}})));
}

TEST(ExitCode, FollowsTheContract) {
  EXPECT_EQ(ExitCode(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCode(absl::InternalError("")), 1);
  EXPECT_EQ(ExitCode(absl::UnknownError("")), 1);
  EXPECT_EQ(ExitCode(absl::UnimplementedError("")), 1);
  for (const absl::Status& bad :
       {absl::InvalidArgumentError(""), absl::NotFoundError(""), absl::FailedPreconditionError(""),
        absl::DataLossError(""), absl::OutOfRangeError(""), absl::AlreadyExistsError(""),
        absl::PermissionDeniedError(""), absl::ResourceExhaustedError("")}) {
    EXPECT_EQ(ExitCode(bad), 2) << bad;
  }
  EXPECT_EQ(ExitCode(absl::AbortedError("")), 3);
  EXPECT_EQ(ExitCode(absl::UnavailableError("")), 4);
}

}  // namespace
}  // namespace photon
