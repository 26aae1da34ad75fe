// `photon train` as a process of its own, alone or under mpirun, on a tiny model and a made-up token file: for tests
// that send it signals.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/random.h"
#include "data/token_file_writer.h"
#include "tests/support/temporary_folder.h"

namespace photon::testing {

// A folder with a token file and a config whose run folder is FOLDER/run.
class TrainFolder : public TemporaryFolder {
 public:
  // Both go into the config's sections of that name as they are.
  explicit TrainFolder(const std::string& training, const std::string& checkpoint = "") {
    const Philox philox(5, 6);
    auto writer = TokenFileWriter::Create(*this / "tokens", 61);
    EXPECT_TRUE(writer.ok()) << writer.status();
    for (int d = 0; d < 300; ++d) {
      std::vector<int32_t> document(1 + philox.Block(d)[0] % 90);
      for (size_t i = 0; i < document.size(); ++i) {
        document[i] = static_cast<int32_t>(philox.Block(1000 * (d + 1) + i)[1] % 7 * (1 + d % 8));
      }
      EXPECT_TRUE(writer->Append(document).ok() && writer->EndDocument().ok());
    }
    EXPECT_TRUE(writer->Finish().ok() && writer->Publish().ok());
    Write("config.textproto", absl::StrCat(R"(
      run_dir: ")",
                                           *this / "run", R"("
      model {
        vocab_size: 61 width: 24 ffn: 40 heads: 2
        levels { encoder_layers: 1 decoder_layers: 1 }
        levels { encoder_layers: 1 decoder_layers: 1 }
      }
      data { train: ")",
                                           *this / "tokens", R"(" sequence_length: 64 valid_fraction: 0.1 }
      training {
        batch_sequences: 4 dtype: "f32"
        optimizer { peak_lr: 1e-2 warmup_steps: 5 }
        )",
                                           training, R"(
      }
      checkpoint { )",
                                           checkpoint, " }\n"));
  }
  std::string config() const { return *this / "config.textproto"; }
  std::string Checkpoint(const std::string& name) const { return *this / ("run/checkpoints/" + name); }
};

// The lines of its run's metrics.jsonl.
inline std::vector<nlohmann::json> Metrics(const TrainFolder& folder) {
  std::ifstream in(folder / "run/metrics.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// One start of the program, in a session of its own; its output goes to a file. Killed with all its ranks at the latest
// when this ends.
class TrainProcess {
 public:
  // `limits`: shell commands to run first (ulimit).
  TrainProcess(const TrainFolder& folder, int ranks, const std::string& arguments, const std::string& limits = ":")
      : log_(folder / "log") {
    std::filesystem::remove(log_);
    // One thread a rank: the ranks share the cores. mpirun's own files go where they are cleaned up after a SIGKILL.
    const std::string command =
        absl::StrCat(limits, "; export OMP_NUM_THREADS=1 OMPI_MCA_orte_tmpdir_base=", folder / "",
                     " OMPI_MCA_btl_vader_backing_directory=", folder / "", "; . ", PHOTON_SOURCE_DIR,
                     "/launch/mpi_env.sh; exec ", ranks > 0 ? absl::StrCat("mpirun -n ", ranks, " ") : "",
                     PHOTON_BINARY, " train --config ", folder.config(), " ", arguments);
    session_ = fork();
    if (session_ == 0) {
      setsid();
      signal(SIGINT, SIG_DFL);  // tests in the background of a shell ignore it
      const int out = open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), in = open("/dev/null", O_RDONLY);
      dup2(in, 0), dup2(out, 1), dup2(out, 2);
      execl("/bin/bash", "bash", "-c", command.c_str(), nullptr);
      _exit(127);
    }
  }
  ~TrainProcess() { KillAll(); }
  TrainProcess(const TrainProcess&) = delete;

  std::string Log() const {
    std::ifstream in(log_);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  bool ended() {
    if (!ended_) ended_ = waitpid(session_, &status_, WNOHANG) == session_;
    return ended_;
  }
  // False where the program ended first, or after two minutes.
  bool WaitFor(const std::function<bool()>& condition) {
    for (int i = 0; i < 60'000; ++i) {
      if (condition()) return true;
      if (ended()) return condition();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }
  bool WaitForLog(const std::string& text) {
    return WaitFor([&] { return Log().find(text) != std::string::npos; });
  }
  // The exit code; 128 + signal where one ended it.
  int Wait() {
    EXPECT_TRUE(WaitFor([] { return false; }) || ended()) << "still running\n" << Log();
    KillAll();
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  }
  // Signals mpirun, or where there is none the program.
  void Signal(int signal) { kill(session_, signal); }
  // The program's processes, the launcher apart: its ranks.
  std::vector<pid_t> Ranks() const {
    std::vector<pid_t> ranks;
    for (const auto& [pid, name] : Members()) {
      if (name == "photon") ranks.push_back(pid);
    }
    return ranks;
  }
  // SIGKILL to mpirun and all ranks. mpirun puts each rank in a process group of its own: only the session holds them
  // all.
  void KillAll() {
    if (!ended()) kill(session_, SIGKILL);  // it may not lead its session yet
    for (auto members = Members(); !members.empty(); members = Members()) {
      for (const auto& [pid, name] : members) kill(pid, SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ended();  // reaps the session's leader
    }
    while (!ended()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

 private:
  // Living processes of the session, by /proc/PID/stat: "PID (NAME) STATE PARENT GROUP SESSION ..".
  std::vector<std::pair<pid_t, std::string>> Members() const {
    std::vector<std::pair<pid_t, std::string>> members;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
      pid_t pid = 0;
      if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
      std::ifstream in(entry.path() / "stat");
      const std::string stat(std::istreambuf_iterator<char>(in), {});
      const size_t open = stat.find('('), close = stat.rfind(')');
      if (open == std::string::npos || close == std::string::npos) continue;
      const std::vector<std::string> fields = absl::StrSplit(stat.substr(close + 2), ' ');
      if (fields[0] != "Z" && fields[3] == absl::StrCat(session_))
        members.emplace_back(pid, stat.substr(open + 1, close - open - 1));
    }
    return members;
  }

  const std::string log_;
  pid_t session_ = -1;
  bool ended_ = false;
  int status_ = 0;
};

}  // namespace photon::testing
