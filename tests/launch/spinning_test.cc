// OpenMP is told how long to wait awake before it is loaded, and only where the user did not say.
#include <gmock/gmock.h>

#include "tests/launch/process.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// With OMP_DISPLAY_ENV libgomp tells its settings each time that it is loaded.
std::string Settings(const std::string& variables) {
  const Outcome outcome =
      RunPhoton("--version", "env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY OMP_DISPLAY_ENV=verbose " + variables);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("photon"));
  return outcome.err;
}

TEST(Spinning, IsBoundedByDefault) { EXPECT_THAT(Settings(""), HasSubstr("GOMP_SPINCOUNT = '10000'")); }

TEST(Spinning, IsTheUsersWhereTheUserChose) {
  const std::string own = Settings("GOMP_SPINCOUNT=77");
  EXPECT_THAT(own, HasSubstr("GOMP_SPINCOUNT = '77'"));
  EXPECT_THAT(own, Not(HasSubstr("'10000'")));
  EXPECT_THAT(Settings("OMP_WAIT_POLICY=active"), Not(HasSubstr("'10000'")));
}

TEST(Spinning, TheLoaderMayRunTheProgram) {
  // By its path, as this process has it in memory.
  std::string loader;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; loader.empty() && std::getline(maps, line);) {
    const size_t path = line.find('/');
    if (path != line.npos && line.find("/ld-", path) != line.npos) loader = line.substr(path);
  }
  if (loader.empty()) GTEST_SKIP() << "this test has no loader of its own (linked statically?)";
  const Outcome outcome = RunPhoton("--version", "env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY " + loader);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("photon"));
}

TEST(Spinning, TheProcessKeepsItsName) {
  // For `pkill -x photon`. The program waits for its config in a pipe while it is looked at.
  const std::string pipe = absl::StrCat(::testing::TempDir(), "/spinning-config-", getpid());
  const std::string script =
      absl::StrCat("mkfifo ", pipe, "; ", PHOTON_BINARY, " train --config ", pipe, " 2>/dev/null & exec 3>", pipe,
                   "; cat /proc/$!/comm; exec 3>&-; wait; rm ", pipe);
  FILE* out = popen(absl::StrCat("unset GOMP_SPINCOUNT OMP_WAIT_POLICY; ", script).c_str(), "r");
  char name[64] = {};
  ASSERT_NE(fgets(name, sizeof(name), out), nullptr);
  pclose(out);
  EXPECT_STREQ(name, "photon\n");
}

}  // namespace
}  // namespace photon::testing
