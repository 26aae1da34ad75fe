// photon serve as a process: that it starts, says where, serves, and ends by signals; what it refuses to start with.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <thread>

#include "inference/server/httplib.h"
#include "tests/launch/imported_model.h"
#include "tests/launch/process.h"
#include "tests/support/temporary_folder.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

class ServeProcess {
 public:
  ServeProcess(const TemporaryFolder& folder, const std::vector<std::string>& more) : log_(folder / "log") {
    std::vector<std::string> arguments = {PHOTON_BINARY, "serve", "--checkpoint", folder / "checkpoint", "--port", "0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    child_ = fork();
    if (child_ == 0) {
      const int out = open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
      dup2(out, 1), dup2(out, 2);
      execv(PHOTON_BINARY, argv.data());
      _exit(127);
    }
  }
  ~ServeProcess() {
    if (child_ > 0) kill(child_, SIGKILL), waitpid(child_, nullptr, 0);
  }

  std::string Log() const {
    std::ifstream in(log_);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  // Its port, once it serves; 0 after a minute.
  int Port() const {
    const std::string before = "http://127.0.0.1:";
    for (int i = 0; i < 6000; ++i) {
      const std::string log = Log();
      const size_t at = log.find(before);
      if (at != log.npos && log.back() == '\n') return std::atoi(log.c_str() + at + before.size());
      usleep(10'000);
    }
    ADD_FAILURE() << "does not serve: " << Log();
    return 0;
  }
  void Signal(int signal) const { kill(child_, signal); }
  int Wait() {
    int status = 0;
    waitpid(std::exchange(child_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  const std::string log_;
  pid_t child_;
};

class Serve : public ::testing::Test {
 protected:
  void SetUp() override { ImportSmallModel(folder_.path()); }
  std::string Command(const std::string& more) const {
    return absl::StrCat("serve --port 0 --checkpoint ", folder_ / "checkpoint", " ", more);
  }
  const TemporaryFolder folder_;
};

// Some 200,000 tokens: a while, on any machine.
constexpr char kLong[] = R"({"prompt": [1, 2], "max_tokens": 200000, "stream": true})";

TEST_F(Serve, AnswersUntilItIsToldToEnd) {
  ServeProcess process(folder_, {"--model-name", "small"});
  httplib::Client client("127.0.0.1", process.Port());
  EXPECT_THAT(process.Log(), HasSubstr("serving small on http://127.0.0.1:"));
  const auto answer = client.Post("/v1/completions", R"({"prompt": [1, 2], "max_tokens": 3})", "application/json");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200) << answer->body;
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
}

TEST_F(Serve, TheSecondSignalEndsItAtOnce) {
  ServeProcess process(folder_, {});
  httplib::Client client("127.0.0.1", process.Port());
  httplib::Client other("127.0.0.1", process.Port());
  std::string streamed;
  std::thread reader([&] {
    if (const auto answer = client.Post("/v1/completions", kLong, "application/json")) streamed = answer->body;
  });
  const auto waits = [&](const char* metric) {
    for (int i = 0; i < 1000; ++i) {
      const auto metrics = other.Get("/metrics");
      if (metrics && metrics->body.find(metric) != std::string::npos) return true;
      usleep(10'000);
    }
    return false;
  };
  EXPECT_TRUE(waits("photon_sequences_running 1\n"));
  process.Signal(SIGINT);
  for (int i = 0; i < 1000 && process.Log().find("stopping") == std::string::npos; ++i) usleep(10'000);
  EXPECT_EQ(other.Get("/ready")->status, 503);
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait(), 0);
  reader.join();
  EXPECT_THAT(streamed, HasSubstr("the engine shuts down"));
}

TEST_F(Serve, RefusesToStart) {
  ServeProcess process(folder_, {});
  const std::string port = std::to_string(process.Port());
  const struct {
    std::string arguments;
    int exit_code;
    const char* problem;
  } cases[] = {
      {"serve --checkpoint /no/run", 2, "/no/run"},
      {Command("--api-keys /no/keys"), 2, "/no/keys"},
      {Command("--state-memory 100B"), 2, " tokens in mode "},
      {Command("--api-keys " + folder_.Write("empty", "\n")), 2, "holds no key"},
      {Command("--chat-template /no/chat"), 2, "chat template /no/chat"},
      {Command("--chat-template " + folder_.Write("roles", "role { name: \"assistant\" }")), 2, "roles: role.0.after"},
      {Command("--chat-template " PHOTON_SOURCE_DIR "/configs/chat/chatml.textproto"), 2, "has no tokenizer"},
      {Command("--host 203.0.113.1"), 2, "give an address of this machine"},
      {Command("--host no.such.host.invalid"), 2, "--host no.such.host.invalid"},
      {absl::StrCat("serve --checkpoint ", folder_ / "checkpoint", " --port ", port), 4, "choose another --port"},
      {Command("--port 70000"), 2, "--port"},
      {Command("--allow-origin http://localhost:3000/"), 2, "with nothing behind"},
      {Command("--max-running 0"), 2, "--max-running"},
      {Command("--max-context 1"), 2, "--max-context is 1"},
      {Command("--max-body-bytes 4MeB"), 2, "--max-body-bytes: 4MeB: not an amount of memory"},
      {Command("--request-timeout -1"), 2, "--request-timeout"},
  };
  for (const auto& test : cases) {
    const Outcome outcome = RunPhoton(test.arguments);
    EXPECT_EQ(outcome.exit_code, test.exit_code) << test.arguments << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(test.problem)) << test.arguments;
  }
}

}  // namespace
}  // namespace photon::testing
