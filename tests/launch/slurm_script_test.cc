#include "launch/slurm_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/launch/process.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

SlurmJob Example() {
  SlurmJob job;
  job.nodes = 2;
  job.ranks_per_node = 4;
  job.program = "/opt/photon/bin/photon";
  job.run_dir = "runs/it's";
  job.arguments = {"--config", "a b.textproto", "--set", "data.train=$HOME"};
  return job;
}

TEST(SlurmTime, WhatSbatchTakes) {
  EXPECT_EQ(*ParseSlurmTime("90"), 90 * 60);
  EXPECT_EQ(*ParseSlurmTime("90:30"), 90 * 60 + 30);
  EXPECT_EQ(*ParseSlurmTime("12:00:30"), 12 * 3600 + 30);
  EXPECT_EQ(*ParseSlurmTime("2-12"), 60 * 3600);
  EXPECT_EQ(*ParseSlurmTime("2-12:30"), 60 * 3600 + 1800);
  EXPECT_EQ(*ParseSlurmTime("0-00:30:05"), 1805);
  for (const char* bad : {"", "abc", "1:2:3:4", "-5", "1-2-3", "1:", "12h", "1-", "99999999999999999999"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseSlurmTime(bad).status())) << bad;
  }
}

TEST(SlurmScript, FillsTheTemplate) {
  SlurmJob job = Example();
  job.options = {"--qos=high", "--output=/logs/%j"};
  job.partition = "gpu";
  job.gpus_per_node = 4;
  const auto script = SlurmScript(job);
  ASSERT_EQ(script.status(), absl::OkStatus());
  EXPECT_THAT(*script, AllOf(HasSubstr("\n#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=4\n"),
                             HasSubstr("\n#SBATCH --signal=B:USR2@300\n"), HasSubstr("\n#SBATCH --gpus-per-node=4\n"),
                             HasSubstr("\n#SBATCH --partition=gpu\n"), HasSubstr("\n#SBATCH --qos=high\n"),
                             HasSubstr("\n#SBATCH --requeue\n"), HasSubstr("\n#SBATCH --open-mode=append\n")));
  // What is given replaces the template's own line.
  EXPECT_THAT(*script, AllOf(HasSubstr("\n#SBATCH --output=/logs/%j\n"), Not(HasSubstr("%x-%j")),
                             Not(HasSubstr("--nodes=1\n")), Not(HasSubstr("--account"))));
  // No word is the shell's.
  EXPECT_THAT(*script, AllOf(HasSubstr("\nphoton='/opt/photon/bin/photon'\n"), HasSubstr("\nrun_dir='runs/it'\\''s'\n"),
                             HasSubstr("\narguments=('--config' 'a b.textproto' '--set' 'data.train=$HOME')\n")));
}

TEST(SlurmScript, IsGoodBash) {
  const testing::TemporaryFolder folder;
  folder.Write("job", *SlurmScript(Example()));
  EXPECT_EQ(std::system(absl::StrCat("bash -n ", folder / "job").c_str()), 0);
  EXPECT_EQ(std::system("bash -n " PHOTON_SOURCE_DIR "/launch/slurm/train.sbatch"), 0);
}

TEST(SlurmScript, RefusesWithARemedy) {
  const auto message = [](auto&& change) {
    SlurmJob job = Example();
    change(job);
    return std::string(SlurmScript(job).status().message());
  };
  EXPECT_THAT(message([](SlurmJob& job) { job.time = "10"; }), HasSubstr("--time 10: leaves no time to train"));
  EXPECT_EQ(message([](SlurmJob& job) { job.time = "11"; }), "");
  EXPECT_THAT(message([](SlurmJob& job) { job.time = "soon"; }), HasSubstr("as in 90 (minutes), 12:00:00"));
  EXPECT_THAT(message([](SlurmJob& job) { job.name = "a b"; }), HasSubstr("--name a b"));
  EXPECT_THAT(message([](SlurmJob& job) { job.name = ""; }), HasSubstr("--name"));
  EXPECT_THAT(message([](SlurmJob& job) { job.partition = "x\n#SBATCH"; }), HasSubstr("--partition"));
  EXPECT_THAT(message([](SlurmJob& job) { job.gpus_per_node = 2; }), HasSubstr("--ranks-per-node 4: a GPU takes one"));
  EXPECT_THAT(message([](SlurmJob& job) { job.options = {"qos=high"}; }), HasSubstr("--sbatch qos=high"));
}

constexpr char kTiny[] = "--config " PHOTON_SOURCE_DIR "/configs/tiny.textproto --set data.train=x ";

TEST(Submit, ShowsTheScript) {
  const testing::Outcome outcome =
      testing::RunPhoton(absl::StrCat("submit --dry-run --nodes 2 --ranks-per-node 2 --init-from W ", kTiny));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("photon='" PHOTON_BINARY "'"), HasSubstr("run_dir='runs/tiny'"),
                                 HasSubstr("export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"),
                                 HasSubstr("'--set' 'data.train=x' '--init-from' 'W')")));
  EXPECT_THAT(outcome.err, HasSubstr("warning: there is no x.idx here"));
}

TEST(Submit, SaysNothingOfDataThatAreThere) {
  const testing::TemporaryFolder folder;
  folder.Write("x.idx", "");
  const testing::Outcome outcome =
      testing::RunPhoton(absl::StrCat("submit --dry-run ", kTiny, " --set data.train=", folder / "x.bin"));
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
}

TEST(Submit, JudgesTheConfigForTheRanksAndNodes) {
  const auto refused = [](const std::string& arguments) {
    const testing::Outcome outcome = testing::RunPhoton(absl::StrCat("submit --dry-run ", kTiny, arguments));
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_EQ(outcome.out, "");
    return outcome.err;
  };
  EXPECT_THAT(refused("--ranks-per-node 3"), HasSubstr("training.batch_sequences = 4 can't be shared evenly by 3"));
  EXPECT_THAT(refused("--nodes 2 --set parallel.tp=2"), HasSubstr("parallel.tp = 2 crosses machines"));
  EXPECT_THAT(refused("--set model.witdh=3"), HasSubstr("did you mean \"width\""));
  EXPECT_THAT(refused("--nodes 0"), HasSubstr("--nodes"));
  EXPECT_THAT(refused("--nodes 100000 --ranks-per-node 100000"), HasSubstr("is not an integer from 1 to"));
  EXPECT_THAT(refused("--save-before 2000000000 --time 90"), HasSubstr("--save-before: 2000000000 is not an integer"));
}

// A stand-in takes the script as sbatch would.
TEST(Submit, GivesTheScriptToSbatch) {
  const testing::TemporaryFolder folder;
  const auto stand_in = [&](const std::string& text) {
    folder.Write("sbatch", text);
    std::filesystem::permissions(folder / "sbatch", std::filesystem::perms::owner_all);
    return testing::RunPhoton(absl::StrCat("submit ", kTiny), absl::StrCat("PATH=", folder / "", ":$PATH"));
  };
  EXPECT_EQ(stand_in(absl::StrCat("#!/bin/sh\ncat >", folder / "job", "\n")).exit_code, 0);
  EXPECT_EQ(folder.Read("job"), testing::RunPhoton(absl::StrCat("submit --dry-run ", kTiny)).out);
  const testing::Outcome outcome = stand_in("#!/bin/sh\ncat >/dev/null; echo no such partition >&2; exit 1\n");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("no such partition"), HasSubstr("sbatch did not take the job")));
}

}  // namespace
}  // namespace photon
