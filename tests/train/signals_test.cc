#include "train/signals.h"

#include <gtest/gtest.h>

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
