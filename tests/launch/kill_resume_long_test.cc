#include "tests/launch/kill_resume.h"

namespace photon::testing {
namespace {

TEST(KillResumeTest, TwentyKills) {
  KillResume resume(20);
  resume.Run(20);
  EXPECT_GT(resume.in_saves(), 0) << "no kill hit a save: the test shows less than it should";
}

}  // namespace
}  // namespace photon::testing
