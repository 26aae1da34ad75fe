#include "train/signals.h"

#include <unistd.h>

#include <atomic>

namespace photon {
namespace {

// A signal handler can reach nothing but globals, and any thread may run it: atomics, which a handler may touch only
// where they take no lock.
std::atomic<int> stop_flag = 0;
std::atomic<int> save_flag = 0;
static_assert(std::atomic<int>::is_always_lock_free);

void OnSignal(int signal) {
  if (signal == SIGINT) {
    // A step may take a while, and who sees nothing happen presses again. write is one of the few calls allowed here.
    constexpr char kNote[] = "\nstopping: saves after this step; once more ends it at once, unsaved\n";
    (void)!write(STDERR_FILENO, kNote, sizeof(kNote) - 1);
  }
  if (signal == SIGTERM || signal == SIGUSR2 || signal == SIGINT) stop_flag = signal;
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
  sigaction(SIGUSR2, &action, &old_passed_on_);
  sigaction(SIGUSR1, &action, &old_save_);
  action.sa_flags |= SA_RESETHAND;  // the second one kills
  sigaction(SIGINT, &action, &old_interrupt_);
  // A shell starts what runs in its background so: its Ctrl-C is not meant for us.
  if (old_interrupt_.sa_handler == SIG_IGN) sigaction(SIGINT, &old_interrupt_, nullptr);
}

SignalWatch::~SignalWatch() {
  sigaction(SIGTERM, &old_stop_, nullptr);
  sigaction(SIGUSR2, &old_passed_on_, nullptr);
  sigaction(SIGUSR1, &old_save_, nullptr);
  sigaction(SIGINT, &old_interrupt_, nullptr);
}

int SignalWatch::stop_signal() const { return stop_flag; }

bool SignalWatch::TakeSaveWanted() {
  return save_flag.exchange(0) != 0;  // one that comes in between is not lost
}

}  // namespace photon
