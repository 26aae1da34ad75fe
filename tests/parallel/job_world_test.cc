#include "parallel/job_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace photon {
namespace {

using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

absl::StatusOr<bool> Read(const Variables& variables, FileWorldOptions* options) {
  return ReadRendezvous(
      [&](const char* name) {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      options);
}

TEST(JobWorld, IsOfMpiUnlessAFolderIsNamed) {
  FileWorldOptions options;
  EXPECT_EQ(Read({{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}, {"SLURM_JOB_ID", "7"}}, &options).value(), false);
}

TEST(JobWorld, ReadsItsPlaceFromItsOwnVariablesOrSlurms) {
  FileWorldOptions options;
  Variables slurm = {
      {"PHOTON_RENDEZVOUS", "/shared"}, {"SLURM_PROCID", "1"},       {"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "7"},
      {"SLURM_STEP_ID", "0"},           {"SLURM_RESTART_COUNT", "2"}};
  ASSERT_EQ(Read(slurm, &options).value(), true);
  EXPECT_EQ(options.folder, "/shared");
  EXPECT_EQ(options.rank, 1);
  EXPECT_EQ(options.size, 4);
  EXPECT_EQ(options.job, "7.0.2");
  EXPECT_EQ(options.timeout_s, 600);
  slurm.insert({{"PHOTON_RANK", "0"},
                {"PHOTON_RANKS", "2"},
                {"PHOTON_JOB", "mine"},
                {"PHOTON_INTERFACE", "eth0"},
                {"PHOTON_RENDEZVOUS_TIMEOUT", "2.5"}});
  ASSERT_EQ(Read(slurm, &options).value(), true);
  EXPECT_EQ(options.rank, 0);
  EXPECT_EQ(options.size, 2);
  EXPECT_EQ(options.job, "mine");
  EXPECT_EQ(options.network_interface, "eth0");
  EXPECT_EQ(options.timeout_s, 2.5);
}

TEST(JobWorld, SaysWhichVariableIsWrong) {
  const Variables good = {
      {"PHOTON_RENDEZVOUS", "/shared"}, {"PHOTON_RANK", "1"}, {"PHOTON_RANKS", "2"}, {"PHOTON_JOB", "a"}};
  struct Case {
    const char* name;
    const char* value;
    const char* message;
  };
  for (const Case& c : {Case{"PHOTON_RANK", "two", "PHOTON_RANK is \"two\""},
                        {"PHOTON_RANK", "2", "there are 2 ranks"},
                        {"PHOTON_RANKS", "0", "PHOTON_RANKS is \"0\""},
                        {"PHOTON_RANKS", "", "PHOTON_RANKS"},
                        {"PHOTON_JOB", "", "PHOTON_JOB"},
                        {"PHOTON_RENDEZVOUS_TIMEOUT", "0", "more than 0"}}) {
    Variables bad = good;
    bad[c.name] = c.value;
    FileWorldOptions options;
    const absl::StatusOr<bool> read = Read(bad, &options);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << c.name;
    EXPECT_THAT(read.status().message(), HasSubstr(c.message));
  }
}

// Each task would else train the whole alone, into one folder.
TEST(JobWorld, TasksOfSrunThatMpiDoesNotConnectAreRefused) {
  const auto check = [](const Variables& variables, int ranks) {
    return CheckConnected(
        [&](const char* name) {
          const auto found = variables.find(name);
          return found == variables.end() ? nullptr : found->second.c_str();
        },
        ranks);
  };
  const Variables srun = {{"SLURM_STEP_NUM_TASKS", "4"}};
  EXPECT_EQ(check({}, 1), absl::OkStatus());
  EXPECT_EQ(check(srun, 4), absl::OkStatus());
  EXPECT_EQ(check({{"SLURM_STEP_NUM_TASKS", "1"}}, 1), absl::OkStatus());
  EXPECT_EQ(check({{"SLURM_STEP_NUM_TASKS", "4"}, {"OMPI_COMM_WORLD_SIZE", "1"}}, 1), absl::OkStatus());
  const absl::Status alone = check(srun, 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(alone));
  EXPECT_THAT(std::string(alone.message()), HasSubstr("srun started 4 tasks, but MPI connects none of them"));
}

}  // namespace
}  // namespace photon
