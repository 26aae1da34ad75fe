// The program as a process: exit codes, and one short message on stderr that names the problem and the remedy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

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
  for (const char* command : {"", "prepare", "train", "plan", "study", "generate", "score", "checkpoint inspect",
                              "checkpoint verify", "checkpoint export", "checkpoint import"}) {
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
  EXPECT_EQ(Refusal("chekpoint"),
            "photon: no command \"chekpoint\"; did you mean \"checkpoint\"? (see photon --help)\n");
  EXPECT_EQ(Refusal("checkpoint verfy"),
            "photon checkpoint: no command \"verfy\"; did you mean \"verify\"? (see photon checkpoint --help)\n");
  EXPECT_THAT(Refusal("checkpoint verify"), HasSubstr("--checkpoint is required"));
  EXPECT_THAT(Refusal("checkpoint inspect --checkpoint x --cofnig"),
              HasSubstr("no option \"--cofnig\"; did you mean \"--config\"?"));
  EXPECT_THAT(Refusal("checkpoint export --checkpoint x --out y --format onnx"),
              HasSubstr("--format: onnx not in {safetensors,gguf}"));
}

// `photon train` on a file of this text.
std::string TrainRefusal(const std::string& config, const std::string& options = "") {
  const std::string path = absl::StrCat(::testing::TempDir(), "/photon-cli-", getpid(), ".textproto");
  std::ofstream(path) << config;
  const std::string message = Refusal(absl::StrCat("train --config ", path, " ", options));
  std::filesystem::remove(path);
  return message;
}

TEST(Cli, TrainRefusesBadConfigs) {
  const std::string good =
      "run_dir: \"/no/run\" model { width: 64 heads: 4 levels { } levels { } } data { train: \"/no/text\" }";
  EXPECT_THAT(TrainRefusal("model {\n  widht: 64\n}"),
              HasSubstr(".textproto:2: ModelConfig has no field \"widht\"; did you mean \"width\"?"));
  EXPECT_THAT(TrainRefusal(good, "--set model.heads=5"),
              HasSubstr("model.width = 64 is not a multiple of model.heads = 5; use 60 or 65"));
  EXPECT_THAT(TrainRefusal(good, "--set model.levels.0.chunk=3 --set model.levels.1.chunk=1"),
              HasSubstr("model.levels.0.chunk = 3"));
  EXPECT_THAT(TrainRefusal(good, "--set data.sequence_length=100"), HasSubstr("use 96 or 112"));
  EXPECT_THAT(TrainRefusal(good, "--set model.levles="), HasSubstr("did you mean \"levels\"?"));
  EXPECT_THAT(TrainRefusal(good), HasSubstr("/no/text"));
  EXPECT_THAT(Refusal("train --config /no/such.textproto"), HasSubstr("/no/such.textproto: No such file"));
  EXPECT_THAT(Refusal("train"), HasSubstr("--config is required"));
  const Outcome nonsense = RunPhoton("train --config x --device nonsense");
  EXPECT_EQ(nonsense.exit_code, 2);
  EXPECT_THAT(nonsense.err, HasSubstr("\"nonsense\" is no device; use cpu, cuda, cuda:N or auto"));
}

// The limit of a watchdog that starts before the config is judged.
TEST(Cli, TrainRefusesTimeoutsThatAreNone) {
  for (const char* value : {"0", "-1", "nan"}) {
    const std::string error =
        Refusal(absl::StrCat("train --device cpu --config ", PHOTON_SOURCE_DIR,
                             "/configs/tiny.textproto --set parallel.collective_timeout_s=", value));
    EXPECT_THAT(error, HasSubstr("parallel.collective_timeout_s")) << value;
  }
}

TEST(Cli, PrepareRefusesBadInput) {
  EXPECT_THAT(Refusal("prepare --input /no/text.txt --out /tmp/photon-none"),
              HasSubstr("no tokenizer: name a SentencePiece model"));
  EXPECT_THAT(Refusal("prepare --input /no/text.txt --out /tmp/photon-none --train-tokenizer 100"),
              HasSubstr("/no/text.txt"));
  EXPECT_THAT(Refusal("prepare --input /etc/hostname --out /tmp/photon-none --tokenizer /no/t.model"),
              HasSubstr("/no/t.model"));
  EXPECT_THAT(Refusal("prepare --out /tmp/photon-none"), HasSubstr("--input is required"));
  EXPECT_THAT(Refusal("prepare --on-error maybe"), HasSubstr("--on-error: maybe not in {fail,skip,replace}"));
  EXPECT_FALSE(std::filesystem::exists("/tmp/photon-none.bin"));
}

TEST(Cli, OnlyTheFirstRankReportsBadInput) {
  const Outcome rank = RunPhoton("train", "OMPI_COMM_WORLD_RANK=1");
  EXPECT_EQ(rank.exit_code, 2);
  EXPECT_THAT(rank.err, IsEmpty());
  // Processes of other commands know nothing of each other.
  const Outcome task = RunPhoton("checkpoint verify --checkpoint /no/where", "SLURM_PROCID=1");
  EXPECT_EQ(task.exit_code, 2);
  EXPECT_THAT(task.err, HasSubstr("photon checkpoint verify (rank 1): "));
}

}  // namespace
}  // namespace photon
