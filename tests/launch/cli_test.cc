// The program as a process: exit codes, and one short message on stderr that names the problem and the remedy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/launch/process.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Outcome;
using testing::RunPhoton;

// Exit code 2, nothing on stdout, one line on stderr.
std::string Refusal(const std::string& arguments) {
  const Outcome outcome = RunPhoton(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << arguments << ": " << outcome.err;
  EXPECT_THAT(outcome.out, IsEmpty()) << arguments;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  return outcome.err;
}

TEST(Cli, HelpAndVersionEverywhere) {
  for (const char* command : {"", "checkpoint inspect", "checkpoint verify"}) {
    const Outcome help = RunPhoton(std::string(command) + " --help");
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_THAT(help.out, HasSubstr(std::string("Usage: photon ") + command));
    const Outcome version = RunPhoton(std::string(command) + " --version");
    EXPECT_EQ(version.exit_code, 0) << command;
    EXPECT_EQ(version.out, "photon " PHOTON_VERSION "\n");
  }
}

TEST(Cli, UsageErrors) {
  EXPECT_EQ(Refusal(""), "photon: A subcommand is required (see photon --help)\n");
  EXPECT_EQ(Refusal("chekpoint"), "photon: no command \"chekpoint\"; did you mean \"checkpoint\"? (see photon --help)\n");
  EXPECT_EQ(Refusal("checkpoint verfy"),
            "photon checkpoint: no command \"verfy\"; did you mean \"verify\"? (see photon checkpoint --help)\n");
  EXPECT_THAT(Refusal("checkpoint verify"), HasSubstr("--checkpoint is required"));
  EXPECT_THAT(Refusal("checkpoint inspect --checkpoint x --tensor"),
              HasSubstr("no option \"--tensor\"; did you mean \"--tensors\"?"));
}

TEST(Cli, OnlyTheFirstRankReportsBadInput) {
  const Outcome outcome = RunPhoton("checkpoint verify --checkpoint /no/where", "OMPI_COMM_WORLD_RANK=1");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, IsEmpty());
}

}  // namespace
}  // namespace photon
