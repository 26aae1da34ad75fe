#include "core/gnuplot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/file.h"

namespace photon {

absl::Status DrawByGnuplot(const std::string& folder, const std::string& name, absl::string_view commands) {
  std::string script = absl::StrCat("./", name, ".gnuplot");
  PHOTON_RETURN_IF_ERROR(WriteFile(absl::StrCat(folder, "/", name, ".gnuplot"), commands));
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
  const std::string no_picture = absl::StrCat("no picture ", name, ": ");
  if (error == ENOENT) return absl::UnavailableError(no_picture + "install the Debian package gnuplot-nox");
  if (error != 0) return absl::UnavailableError(absl::StrCat(no_picture, "gnuplot: ", std::strerror(error)));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(no_picture, "gnuplot fails on ", folder, "/", name, ".gnuplot"));
}

}  // namespace photon
