#include "train/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/file.h"
#include "core/time.h"

namespace photon {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(100);

bool TakenByAnother(int fd) { return flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; }

std::string HolderIn(int fd) {
  std::array<char, 300> text;
  const absl::StatusOr<int64_t> size = ReadAt(fd, "lock", 0, text.data(), text.size());
  if (!size.ok() || *size == 0) return "";
  return absl::StrCat(" (", absl::StripAsciiWhitespace(absl::string_view(text.data(), *size)), ")");
}

// Only for the message that others give: a disk that is too full for it stops nobody.
void WriteHolder(int fd) {
  std::array<char, 256> host = {};
  gethostname(host.data(), host.size() - 1);
  const std::string text = absl::StrCat("process ", getpid(), " on ", host.data(), "\n");
  if (ftruncate(fd, 0) == 0) (void)!pwrite(fd, text.data(), text.size(), 0);
}

}  // namespace

absl::StatusOr<RunLock> RunLock::Take(const std::string& run_dir, double wait_s, absl::string_view option) {
  const std::string path = run_dir + "/lock";
  // For writing: network file systems lock nothing else. Not for children: gnuplot must not outlive us with it.
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return FileError(errno, "cannot write", path);
  RunLock lock(fd);
  for (const double begin = Now(); TakenByAnother(fd); std::this_thread::sleep_for(kPoll)) {
    if (Now() - begin < wait_s) continue;
    return absl::AlreadyExistsError(absl::StrCat("another process trains in run_dir ", run_dir, HolderIn(fd),
                                                 ": wait for it, or choose another folder with ", option));
  }
  WriteHolder(fd);
  return lock;
}

RunLock::RunLock(RunLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RunLock::~RunLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace photon
