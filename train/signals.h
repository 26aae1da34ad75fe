// SIGTERM, SIGUSR2 and SIGINT: save and exit (mpirun passes the second on, and waits for the ranks; a second SIGINT
// ends the process at once). SIGUSR1: save and go on. The handlers only note the signal; the loop asks once a step, and
// all ranks act on the same step.
#pragma once

#include <csignal>

namespace photon {

class SignalWatch {
 public:
  SignalWatch();   // installs the handlers
  ~SignalWatch();  // and puts the old ones back
  SignalWatch(const SignalWatch&) = delete;

  int stop_signal() const;  // the one that asked for the end; 0: none did
  bool TakeSaveWanted();    // true once per SIGUSR1

 private:
  struct sigaction old_stop_, old_passed_on_, old_save_, old_interrupt_;
};

}  // namespace photon
