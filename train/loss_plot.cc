#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "train/metrics.h"

namespace photon {
namespace {

struct Curves {
  std::string training, validation;  // "step loss" lines, gnuplot's own inline data
};

Curves ReadCurves(const std::string& path) {
  Curves curves;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("step")) continue;
    const auto add = [&](const char* key, std::string* out) {
      if (entry.contains(key) && entry[key].is_number()) {
        absl::StrAppend(out, entry["step"].get<int64_t>(), " ", entry[key].get<double>(), "\n");
      }
    };
    add("ce", &curves.training);
    add("valid_loss", &curves.validation);
  }
  return curves;
}

// Runs gnuplot in the run's folder, silently. There every name is our own: nothing of the folder's has to be quoted.
absl::Status RunGnuplot(const std::string& folder, std::string script) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  std::string program = "gnuplot";
  char* const arguments[] = {program.data(), script.data(), nullptr};
  pid_t child = 0;
  const int error = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT) return absl::UnavailableError("no picture of the loss: install the Debian package gnuplot-nox");
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("no picture of the loss: gnuplot: ", std::strerror(error)));
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("no picture of the loss: gnuplot fails on ", folder, "/", script));
}

}  // namespace

absl::Status PlotLoss(const std::string& run_dir, double unigram_entropy) {
  const Curves curves = ReadCurves(run_dir + "/metrics.jsonl");
  if (curves.training.empty()) return absl::FailedPreconditionError("no steps to draw");
  std::string script = absl::StrCat(
      "set terminal png size 960,600\nset output 'loss.png'\nset xlabel 'step'\n",
      "set ylabel 'cross-entropy, nats per token'\nset grid\nset key top right\n$train << E\n", curves.training, "E\n");
  if (!curves.validation.empty()) absl::StrAppend(&script, "$valid << E\n", curves.validation, "E\n");
  absl::StrAppend(&script, "plot $train with lines lw 1 lc rgb '#7aa6d8' title 'training'");
  if (!curves.validation.empty()) {
    absl::StrAppend(&script, ", $valid with linespoints lw 2 pt 7 lc rgb '#c0392b' title 'validation'");
  }
  if (unigram_entropy > 0) {
    absl::StrAppend(&script, ", ", unigram_entropy, " with lines dt 2 lc rgb '#555555' title 'unigram entropy'");
  }
  absl::StrAppend(&script, "\n");

  std::ofstream(run_dir + "/loss.gnuplot") << script;
  return RunGnuplot(run_dir, "loss.gnuplot");
}

}  // namespace photon
