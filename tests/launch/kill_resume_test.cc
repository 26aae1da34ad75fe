#include "tests/launch/kill_resume.h"

namespace photon::testing {
namespace {

TEST(KillResumeTest, TwoKills) { KillResume(1).Run(2); }

}  // namespace
}  // namespace photon::testing
