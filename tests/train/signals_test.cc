#include "train/signals.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace photon {
namespace {

int seen_by_old_handler = 0;
void OldHandler(int) { ++seen_by_old_handler; }

TEST(SignalWatch, NotesWhatArrives) {
  SignalWatch watch;
  EXPECT_EQ(watch.stop_signal(), 0);
  EXPECT_FALSE(watch.TakeSaveWanted());
  std::raise(SIGUSR1);
  std::raise(SIGUSR1);
  EXPECT_EQ(watch.stop_signal(), 0);
  EXPECT_TRUE(watch.TakeSaveWanted());
  EXPECT_FALSE(watch.TakeSaveWanted()) << "a save is wanted once";
  std::raise(SIGTERM);
  EXPECT_EQ(watch.stop_signal(), SIGTERM);
  EXPECT_EQ(watch.stop_signal(), SIGTERM) << "a stop stays wanted";
  EXPECT_FALSE(watch.TakeSaveWanted());
}

TEST(SignalWatch, StopsOnWhatMpirunPassesOn) {
  SignalWatch watch;
  std::raise(SIGUSR2);
  EXPECT_EQ(watch.stop_signal(), SIGUSR2);
  EXPECT_FALSE(watch.TakeSaveWanted());
}

void Interrupt(void (*before)(int), int times) {
  signal(SIGINT, before);
  const SignalWatch watch;
  for (int i = 0; i < times; ++i) std::raise(SIGINT);
  _exit(watch.stop_signal());
}

TEST(SignalWatchDeathTest, StopsOnTheFirstCtrlCAndDiesOfTheSecond) {
  EXPECT_EXIT(Interrupt(SIG_DFL, 1), ::testing::ExitedWithCode(SIGINT), "saves after this step");
  EXPECT_EXIT(Interrupt(SIG_DFL, 2), ::testing::KilledBySignal(SIGINT), "");
  EXPECT_EXIT(Interrupt(SIG_IGN, 2), ::testing::ExitedWithCode(0), "") << "in the background of a shell";
}

TEST(SignalWatch, PutsOldHandlersBackAndForgets) {
  struct sigaction ours = {}, before = {};
  ours.sa_handler = OldHandler;
  sigaction(SIGTERM, &ours, &before);
  {
    SignalWatch watch;
    std::raise(SIGTERM);
    EXPECT_EQ(seen_by_old_handler, 0);
  }
  std::raise(SIGTERM);
  EXPECT_EQ(seen_by_old_handler, 1);
  EXPECT_EQ(SignalWatch().stop_signal(), 0) << "of an earlier watch";
  sigaction(SIGTERM, &before, nullptr);
}

}  // namespace
}  // namespace photon
