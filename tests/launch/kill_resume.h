// A run on two ranks that is killed with SIGKILL at random moments and resumed, until it is done, must end with the
// very bits of one that nobody disturbed: every step's metrics and every byte of the last checkpoint's tensors.
#pragma once

#include <stdio.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_replace.h"
#include "tests/launch/train_process.h"

namespace photon::testing {

class KillResume {
 public:
  // Saves every 2 steps and takes about as long for a save as for the steps between: half of the kills hit one.
  static constexpr int kSteps = 120;
  static constexpr char kTraining[] = "steps: 120 valid_every: 10 valid_sequences: 4 health { spike_factor: 20 }";
  static constexpr char kCheckpoint[] = "every: 2 keep_last: 2";

  explicit KillResume(uint64_t seed)
      : random_(seed, StableHash("moments to kill at")), undisturbed_(kTraining, kCheckpoint) {
    const double started = Now();
    TrainProcess run(undisturbed_, 2, "--resume");
    EXPECT_TRUE(run.WaitForLog(kLoopBegins)) << run.Log();
    startup_s_ = Now() - started;
    EXPECT_EQ(run.Wait(), 0) << run.Log();
    loop_s_ = Now() - started - startup_s_;
    printf("undisturbed: starts in %.2f s, trains in %.2f s\n", startup_s_, loop_s_);
  }

  // Kills `count` times in all, in as many runs as it takes, and compares each run that got to its end.
  void Run(int count) {
    int runs = 0;
    while (kills_ < count && !::testing::Test::HasFailure()) {
      // Some 2/3 of a run's steps until the last kill, so that most runs suffice.
      DisturbedRun(count, 2 * 0.67 * loop_s_ / count);
      ++runs;
    }
    printf("%d kills (%d inside a save, %d while starting) over %d run(s): %s\n", kills_, in_saves_, in_startup_, runs,
           ::testing::Test::HasFailure() ? "DIFFERENT" : "all equal the undisturbed run bit for bit");
  }
  int in_saves() const { return in_saves_; }

 private:
  static constexpr char kLoopBegins[] = "matrix peak";

  static double Now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  static void Sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }
  double Uniform() { return random_.Uniform(drawn_++); }

  void DisturbedRun(int count, double longest_s) {
    const TrainFolder folder(kTraining, kCheckpoint);
    left_.clear();
    for (bool done = false; !done && !::testing::Test::HasFailure();) {
      TrainProcess run(folder, 2, "--resume");
      if (kills_ < count && Uniform() < 0.15) {  // while it starts, reads the checkpoint or cuts the metrics
        Sleep(Uniform() * startup_s_);
      } else {
        ASSERT_TRUE(run.WaitForLog(kLoopBegins)) << run.Log();
        if (kills_ < count) Sleep(Uniform() * longest_s);
      }
      if (kills_ == count || run.ended()) {
        ASSERT_EQ(run.Wait(), 0) << run.Log();
        done = true;
        continue;
      }
      run.KillAll();
      Tell(++kills_, folder, run.Log());
    }
    if (!::testing::Test::HasFailure()) Compare(folder);
  }

  void Tell(int kill, const TrainFolder& folder, const std::string& log) {
    const bool started = log.find(kLoopBegins) != std::string::npos;
    std::string inside;
    std::error_code none_yet;
    for (const auto& entry : std::filesystem::directory_iterator(folder.Checkpoint(""), none_yet)) {
      const std::string name = entry.path().filename();
      // What an earlier kill left is there until the next save is published.
      if (name.find('.') != std::string::npos && left_.count(name) == 0) inside += " " + name;
      left_.insert(name);
    }
    in_saves_ += !inside.empty();
    in_startup_ += !started;
    const size_t last = log.rfind(" step ");
    const std::string at =
        last == std::string::npos ? "step 0" : log.substr(last + 1, log.find_first_of("/ \n", last + 6) - last - 1);
    printf("kill %2d: at %s%s%s%s\n", kill, at.c_str(), started ? "" : ", while starting",
           inside.empty() ? "" : ", inside a save:", inside.c_str());
    fflush(stdout);
  }

  // What a step's lines say, times apart.
  static std::map<std::string, std::string> Steps(const TrainFolder& folder) {
    std::map<std::string, std::string> steps;
    std::ifstream in(folder / "run/metrics.jsonl");
    for (std::string line; std::getline(in, line);) {
      const nlohmann::json entry = nlohmann::json::parse(line);
      std::string& said =
          steps[absl::StrCat(entry["step"].get<int>(), entry.contains("valid_loss") ? " validation" : "")];
      EXPECT_EQ(said, "") << "a step twice: " << line;
      for (const char* key :
           {"loss", "ce", "rec", "lr", "grad_norm", "tokens", "skipped", "valid_loss", "valid_tokens"}) {
        if (entry.contains(key)) absl::StrAppend(&said, key, " ", entry[key].dump(), " ");
      }
    }
    return steps;
  }

  void Compare(const TrainFolder& folder) {
    const auto want = Steps(undisturbed_);
    EXPECT_EQ(want.size(), kSteps + kSteps / 10u);
    EXPECT_EQ(Steps(folder), want);
    const std::string last = absl::StrCat("step-00000", kSteps);
    ASSERT_EQ(std::filesystem::read_symlink(folder.Checkpoint("latest")), last);
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(undisturbed_.Checkpoint(last))) {
      const std::string file = absl::StrCat("run/checkpoints/", last, "/", entry.path().filename().string());
      if (entry.path().extension() != ".h5") continue;
      ++files;
      EXPECT_TRUE(folder.Read(file) == undisturbed_.Read(file)) << file << " differs";
    }
    EXPECT_EQ(files, 5);
    EXPECT_EQ(State(folder, last), State(undisturbed_, last));
    for (const auto& entry : std::filesystem::directory_iterator(folder.Checkpoint(""))) {
      EXPECT_EQ(entry.path().filename().string().find('.'), std::string::npos) << entry.path() << " was left behind";
    }
  }

  // The manifest's run state, as text. The two runs' data lie in folders of their own.
  static std::string State(const TrainFolder& folder, const std::string& checkpoint) {
    const std::string manifest = folder.Read(absl::StrCat("run/checkpoints/", checkpoint, "/manifest.textproto"));
    const size_t begin = manifest.find("\nstate {");
    return absl::StrReplaceAll(manifest.substr(begin, manifest.find("\n}", begin) - begin),
                               {{folder.path(), "FOLDER"}});
  }

  const Philox random_;
  uint64_t drawn_ = 0;
  const TrainFolder undisturbed_;
  double startup_s_ = 0, loop_s_ = 0;
  int kills_ = 0, in_saves_ = 0, in_startup_ = 0;
  std::set<std::string> left_;
};

}  // namespace photon::testing
