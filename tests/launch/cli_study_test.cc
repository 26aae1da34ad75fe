// `photon study` as a process: refusals, a dry run, and a miniature study that is stopped, killed and finished.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/data/temporary.h"
#include "tests/launch/process.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::RunPhoton;

class CliStudy : public ::testing::Test {
 protected:
  CliStudy() {
    Write("train", 200);
    Write("valid", 3);
  }
  // Documents of 150 ids that rise by their document's number, modulo 61.
  void Write(const std::string& name, int documents) const {
    std::vector<std::vector<int32_t>> ids(documents, std::vector<int32_t>(150));
    for (int d = 0; d < documents; ++d) {
      for (int i = 0; i < 150; ++i) ids[d][i] = (i * (1 + d % 8)) % 61;
    }
    testing::WriteDocuments(folder_ / name, ids, 61);
  }
  std::string Arguments(const std::string& more = "", const std::string& train = "train.bin",
                        const std::string& valid = "valid") const {
    return absl::StrCat("study --data ", folder_ / train, " --valid ", folder_ / valid, " --out ", folder_ / "out",
                        " --vocab-size 61 --sizes d64 --device cpu ", more);
  }
  std::string Refusal(const std::string& arguments) const {
    const Outcome outcome = RunPhoton(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    return outcome.err;
  }
  // Starts a study and sends it `signal` when it prints `line`. What it printed, and as the shell has it, its exit
  // code.
  Outcome Interrupt(const std::string& arguments, const std::string& line, int signal) const {
    Outcome outcome;
    FILE* pipe = popen(absl::StrCat("echo $$; exec ", PHOTON_BINARY, " ", arguments, " 2>&1").c_str(), "r");
    char buffer[4096];
    int pid = 0;
    bool sent = false;
    while (fgets(buffer, sizeof(buffer), pipe) != nullptr) {
      if (pid == 0) {
        EXPECT_TRUE(absl::SimpleAtoi(buffer, &pid));
      }
      absl::StrAppend(&outcome.out, buffer);
      if (sent || outcome.out.find(line) == std::string::npos) continue;
      sent = kill(pid, signal) == 0;
    }
    EXPECT_TRUE(sent) << outcome.out;
    const int status = pclose(pipe);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(CliStudy, Refusals) {
  EXPECT_THAT(Refusal("study --data /nowhere/x.bin --valid y --out z"), HasSubstr("/nowhere/x"));
  EXPECT_THAT(Refusal(absl::StrCat("study --data ", folder_ / "train", " --valid y --out z")),
              HasSubstr("give --vocab-size"));
  EXPECT_THAT(Refusal(Arguments("--valid y")), HasSubstr("--valid"));
  EXPECT_THAT(Refusal(absl::StrCat("study --data ", folder_ / "train", " --valid ", folder_ / "gone",
                                   " --out z --vocab-size 61")),
              HasSubstr("gone"));
  EXPECT_THAT(Refusal(Arguments("--kinds photon,blok")), HasSubstr("did you mean \"block\"?"));
  EXPECT_THAT(Refusal(Arguments("--kinds photon,photon")), HasSubstr("--kinds names photon twice"));
  EXPECT_THAT(Refusal(Arguments("--modes rec,hier,rec")), HasSubstr("--modes names rec twice"));
  EXPECT_THAT(Refusal(Arguments("--scale huge")), HasSubstr("--scale huge"));
  EXPECT_THAT(Refusal(Arguments("--flops 1e9,1e9")), HasSubstr("2 numbers for 1 sizes"));
  EXPECT_THAT(Refusal(Arguments("--budget 0")), HasSubstr("--budget"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(CliStudy, TokenFilesOfTwoTokenizersAreRefused) {
  const std::string text =
      folder_.Write("text.txt", "one two three four five six seven eight nine ten eleven twelve\n");
  for (const char* name : {"a", "b"}) {
    const Outcome prepared = RunPhoton(absl::StrCat("prepare --input ", text, " --train-tokenizer ",
                                                    name[0] == 'a' ? 290 : 285, " --out ", folder_ / name));
    ASSERT_EQ(prepared.exit_code, 0) << prepared.err;
  }
  EXPECT_THAT(
      Refusal(absl::StrCat("study --data ", folder_ / "a", " --valid ", folder_ / "a", " --out z --vocab-size 9")),
      AllOf(HasSubstr("--vocab-size 9: token file"), HasSubstr("for 290")));
  EXPECT_THAT(Refusal(absl::StrCat("study --data ", folder_ / "a", " --valid ", folder_ / "b", " --out z")),
              HasSubstr("was prepared with another tokenizer"));
}

TEST_F(CliStudy, DryRunTouchesNothing) {
  const Outcome outcome = RunPhoton(Arguments("--dry-run --seeds 2"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* name : {"vanilla-d64 ", "block-d64-seed2", "photon-d64 "}) EXPECT_THAT(outcome.out, HasSubstr(name));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(CliStudy, StoppedKilledAndFinished) {
  const std::string options = "--kinds block,photon --modes hier,rec --budget 0.1", study = Arguments(options);
  const Outcome stopped = Interrupt(study, " step 2/", SIGTERM);
  EXPECT_EQ(stopped.exit_code, 0) << stopped.out;
  EXPECT_THAT(stopped.out, HasSubstr("stopped; the same command goes on from there"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/block-d64/finished"));
  EXPECT_EQ(Interrupt(study, "run 2 of 2: photon-d64", SIGKILL).exit_code, 128 + SIGKILL);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/block-d64/finished"));

  const Outcome finished = RunPhoton(study);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(finished.out.find("run 1 of 2"), std::string::npos) << "trained again: " << finished.out;
  const auto json = nlohmann::json::parse(folder_.Read("out/study.json"));
  ASSERT_EQ(json["runs"].size(), 2u);
  ASSERT_EQ(json["points"].size(), 3u);  // block hier; photon hier and rec
  for (const auto& run : json["runs"]) EXPECT_NEAR(run["training_flops"].get<double>() / 5e10, 1, 0.1) << run;
  for (const auto& point : json["points"]) {
    EXPECT_GT(point["loss"], 0) << point;
    EXPECT_GT(point["tpm"], 0) << point;
  }
  EXPECT_EQ(json["points"][2]["mode"], "rec");
  EXPECT_THAT(folder_.Read("out/study.md"), HasSubstr("| d64 | photon | `rec` |"));
  for (const auto& point : json["points"]) EXPECT_GE(point["speed_disturbance"].get<double>(), 1) << point;
  EXPECT_THAT(Refusal(study + " --flops 1e12"), HasSubstr("is of a run with other options"));

  // A call measures anew; what the one before reported stays.
  const std::string before = folder_.Read("out/study.json");
  EXPECT_EQ(RunPhoton(study).exit_code, 0);
  EXPECT_EQ(folder_.Read("out/study.before.json"), before);
  EXPECT_THAT(folder_.Read("out/study.before.md"), HasSubstr("| d64 | photon | `rec` |"));

  // Losses of other data stand in no table of this study, nor are those that stand there called theirs.
  const std::string results = folder_.Read("out/study.json");
  Write("other", 90);
  EXPECT_THAT(Refusal(Arguments(options, "other")), HasSubstr("--data: token file"));
  EXPECT_THAT(Refusal(Arguments("--kinds vanilla --budget 0.1", "other")), HasSubstr("--data: token file"));
  EXPECT_THAT(Refusal(Arguments(options, "train", "other")), HasSubstr("--valid: token file"));
  EXPECT_THAT(Refusal(Arguments(options + " --dry-run", "train", "other")), HasSubstr("or another --out"));
  EXPECT_EQ(folder_.Read("out/study.json"), results);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/vanilla-d64"));
  for (const char* end : {".bin", ".idx"}) {
    std::filesystem::rename(folder_ / (std::string("train") + end), folder_ / (std::string("moved") + end));
  }
  const Outcome moved = RunPhoton(Arguments(options + " --dry-run", "moved"));
  EXPECT_EQ(moved.exit_code, 0) << moved.err;
}

}  // namespace
}  // namespace photon
