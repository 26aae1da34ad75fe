#include "train/signals.h"

namespace photon {
namespace {

// A signal handler can reach nothing but globals.
volatile std::sig_atomic_t stop_flag = 0;
volatile std::sig_atomic_t save_flag = 0;

void OnSignal(int signal) {
  if (signal == SIGTERM) stop_flag = 1;
  if (signal == SIGUSR1) save_flag = 1;
}

}  // namespace

SignalWatch::SignalWatch() {
  stop_flag = 0;
  save_flag = 0;
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;  // reads and writes under way are not disturbed
  sigaction(SIGTERM, &action, &old_stop_);
  sigaction(SIGUSR1, &action, &old_save_);
}

SignalWatch::~SignalWatch() {
  sigaction(SIGTERM, &old_stop_, nullptr);
  sigaction(SIGUSR1, &old_save_, nullptr);
}

bool SignalWatch::stop_wanted() const { return stop_flag != 0; }

bool SignalWatch::TakeSaveWanted() {
  const bool wanted = save_flag != 0;
  save_flag = 0;
  return wanted;
}

}  // namespace photon
