// Readings as Linux writes them, from a folder of our own.
#include "core/available_memory.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

class AvailableMemoryTest : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ / path).parent_path());
    root_.Write(path, text);
  }
  void MachineHas(int64_t kilobytes) {
    Write("proc/meminfo", "MemTotal:       24684092 kB\nMemFree:         9 kB\nMemAvailable:   " +
                              std::to_string(kilobytes) + " kB\nBuffers:          161256 kB\n");
  }
  int64_t Available() const { return AvailableMemory(root_.path()); }

  const testing::TemporaryFolder root_;
};

TEST_F(AvailableMemoryTest, IsTheMachinesWhereNothingLimits) {
  EXPECT_EQ(Available(), -1) << "nothing to read";
  MachineHas(5000);
  EXPECT_EQ(Available(), 5000 * 1024);
  Write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(Available(), 5000 * 1024);
  // No limit, in the words of version 2, and in those of version 1: the largest multiple of a page.
  Write("proc/self/cgroup", "4:memory:/a\n0::/b\n");
  Write("sys/fs/cgroup/b/memory.max", "max\n");
  Write("sys/fs/cgroup/b/memory.current", "123\n");
  Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  Write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "4096\n");
  EXPECT_EQ(Available(), 5000 * 1024);
}

TEST_F(AvailableMemoryTest, Version2CountsTheGroupsAboveAndNotTheCache) {
  MachineHas(5000);
  Write("proc/self/cgroup", "0::/job/step\n");
  Write("sys/fs/cgroup/job/step/memory.max", "max\n");
  Write("sys/fs/cgroup/job/step/memory.current", "100000\n");
  Write("sys/fs/cgroup/job/memory.max", "3000000\n");
  Write("sys/fs/cgroup/job/memory.current", "1200000\n");
  EXPECT_EQ(Available(), 1'800'000);
  Write("sys/fs/cgroup/job/memory.stat", "anon 700000\nfile 500000\nworkingset_x 7\ninactive_file 400000\n");
  EXPECT_EQ(Available(), 2'200'000);
  Write("sys/fs/cgroup/job/step/memory.max", "150000\n");
  EXPECT_EQ(Available(), 50'000) << "the nearer limit is less";
  Write("sys/fs/cgroup/job/step/memory.current", "160000\n");
  EXPECT_EQ(Available(), 0) << "over the limit already";
  MachineHas(0);
  Write("sys/fs/cgroup/job/step/memory.current", "0\n");
  EXPECT_EQ(Available(), 0) << "the machine has less than the limit";
}

TEST_F(AvailableMemoryTest, Version1AlsoInAContainerThatSeesTheRootAlone) {
  MachineHas(5000);
  Write("proc/self/cgroup", "9:name=systemd:/\n5:cpuset,memory:/docker/0123\n3:cpu:/other\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n");
  Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1500000\n");
  Write("sys/fs/cgroup/memory/memory.stat", "inactive_file 9\ntotal_inactive_file 250000\n");
  EXPECT_EQ(Available(), 750'000);
}

TEST(AvailableMemory, OfThisMachineIsKnown) { EXPECT_GT(AvailableMemory(), 1 << 20); }

}  // namespace
}  // namespace photon
