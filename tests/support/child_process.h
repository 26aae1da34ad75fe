// Limits, identities and signals for a test, in a process whose end undoes them.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace photon::testing {

// Runs `body` in a child, which leaves through exit(), hence through the exit handlers of libraries. Returns what
// `body` returned; 100 + signal where the child was killed. A child that hangs is killed by its alarm.
inline int InChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    exit(body());
  }
  int state = 0;
  waitpid(child, &state, 0);
  return WIFSIGNALED(state) ? 100 + WTERMSIG(state) : WEXITSTATUS(state);
}

// Files of this process can't grow beyond `bytes`: a disk that is full. RLIM_INFINITY: room again.
inline void LimitFileSize(rlim_t bytes) {
  signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{bytes, RLIM_INFINITY};
  setrlimit(RLIMIT_FSIZE, &limit);
}

}  // namespace photon::testing
