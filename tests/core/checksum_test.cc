#include "core/checksum.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

// XXH3-128 of nothing with seed 0, from xxHash's specification; high half first.
TEST(Checksum, IsXxh3) { EXPECT_EQ(Checksum(""), "99aa06d3014798d86001c324468d497f"); }

TEST(Checksum, OfAFileIsThatOfItsBytes) {
  testing::TemporaryFolder folder;
  for (const size_t size : {0, 1, 240, 241, (1 << 20) - 1, 1 << 20, (2 << 20) + 12345}) {  // around blocks of 1 MiB
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + i / 257);
    const std::string path = folder.Write("f", bytes);
    const auto by_name = ChecksumFile(path);
    ASSERT_TRUE(by_name.ok());
    EXPECT_EQ(by_name->bytes, static_cast<int64_t>(size));
    EXPECT_EQ(by_name->xxh3, Checksum(bytes)) << size;
    const int fd = open(path.c_str(), O_RDONLY);
    lseek(fd, size / 2, SEEK_SET);
    EXPECT_EQ(ChecksumFile(fd, path)->xxh3, Checksum(bytes)) << "wherever the file stands";
    close(fd);
    if (size == 0) continue;
    bytes[size - 1] ^= 1;
    EXPECT_NE(Checksum(bytes), by_name->xxh3);
  }
  EXPECT_EQ(ChecksumFile(folder / "none").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace photon
