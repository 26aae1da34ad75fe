// A file system whose k-th change fails, or is the last that ever reached the disk.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/file_system.h"

namespace photon::testing {

// The real one, but for its k-th call that changes something (counted from 0; opening to read is none):
//   kNoSpace, kIoError   fails with ENOSPC, EIO; the calls after it work
//   kDiskFull            fails with ENOSPC where it needs room, as do all after it that do (files made or written,
//                        folders, links); removing, renaming and flushing work. What is removed makes no room
//   kShortWrite          takes half of the bytes, where it is a write
//   kKilled              the process is gone: this call and all after it do nothing; what was done stays
//   kPowerLoss           the same, and what was not flushed is lost: files that were not synced end empty, changes of
//                        names in folders that were not synced are taken back
// So a "process" that goes on after kKilled or kPowerLoss does so in vain; Restart() lets the next one begin. Ranks
// that are threads may share one.
class FaultyFileSystem : public FileSystem {
 public:
  enum class Fault { kNone, kNoSpace, kIoError, kShortWrite, kKilled, kPowerLoss, kDiskFull };

  // `graveyard`: an existing folder on the same file system, where what a name stood for waits until the change of that
  // name is flushed.
  explicit FaultyFileSystem(std::string graveyard) : graveyard_(std::move(graveyard)) {}
  ~FaultyFileSystem() override { Forget(); }

  void Arm(Fault fault, int64_t k) {
    absl::MutexLock lock(&mutex_);
    Forget();
    fault_ = fault, at_ = k, calls_ = 0, dead_ = false, hit_ = false;
  }
  void Restart() { Arm(Fault::kNone, 0); }
  // Whether there was a k-th call.
  bool hit() const {
    absl::MutexLock lock(&mutex_);
    return hit_;
  }

  int Open(const char* path, int flags) override {
    absl::MutexLock lock(&mutex_);
    if (dead_) return Fail(EIO);
    struct stat info;
    const bool creates = (flags & O_CREAT) != 0 && lstat(path, &info) != 0;
    if (creates && Fails(kNeedsRoom)) return -1;
    const int fd = RealFileSystem().Open(path, flags);
    if (fd >= 0 && creates) Undoable(path, [path = std::string(path)] { unlink(path.c_str()); });
    return fd;
  }
  int Close(int fd) override { return RealFileSystem().Close(fd); }
  ssize_t Write(int fd, const void* bytes, size_t count) override {
    absl::MutexLock lock(&mutex_);
    if (Fails(kNeedsRoom)) return -1;
    const bool half = fault_ == Fault::kShortWrite && calls_ == at_ + 1 && count > 1;
    Dirty(fd);
    return RealFileSystem().Write(fd, bytes, half ? count / 2 : count);
  }
  int Truncate(int fd, off_t size) override {
    absl::MutexLock lock(&mutex_);
    if (Fails()) return -1;
    Dirty(fd);
    return RealFileSystem().Truncate(fd, size);
  }
  int Sync(int fd) override {
    absl::MutexLock lock(&mutex_);
    if (Fails()) return -1;
    struct stat info;
    fstat(fd, &info);
    std::erase_if(unsynced_, [&](const Unsynced& file) { return file.inode == info.st_ino && Drop(file); });
    std::erase_if(undo_, [&](const Change& change) { return change.folder == info.st_ino; });
    return 0;  // nothing here waits for a disk
  }
  int Rename(const char* from, const char* to) override {
    absl::MutexLock lock(&mutex_);
    if (Fails()) return -1;
    struct stat info;
    std::string replaced;
    if (lstat(to, &info) == 0 && !S_ISDIR(info.st_mode)) {
      replaced = Bury();
      if (::rename(to, replaced.c_str()) != 0) return -1;
    }
    const int result = RealFileSystem().Rename(from, to);
    const int error = errno;
    const auto undo = [from = std::string(from), to = std::string(to), replaced] {
      ::rename(to.c_str(), from.c_str());
      if (!replaced.empty()) ::rename(replaced.c_str(), to.c_str());
    };
    if (result == 0) Undoable(to, undo);
    if (result != 0 && !replaced.empty()) ::rename(replaced.c_str(), to);
    errno = error;
    return result;
  }
  int Exchange(const char* a, const char* b) override {
    absl::MutexLock lock(&mutex_);
    if (Fails()) return -1;
    const int result = RealFileSystem().Exchange(a, b);
    if (result == 0) {
      Undoable(a, [a = std::string(a), b = std::string(b)] { RealFileSystem().Exchange(a.c_str(), b.c_str()); });
    }
    return result;
  }
  int MakeLink(const char* target, const char* path) override {
    absl::MutexLock lock(&mutex_);
    if (Fails(kNeedsRoom)) return -1;
    const int result = RealFileSystem().MakeLink(target, path);
    if (result == 0) Undoable(path, [path = std::string(path)] { unlink(path.c_str()); });
    return result;
  }
  int MakeFolder(const char* path) override {
    absl::MutexLock lock(&mutex_);
    if (Fails(kNeedsRoom)) return -1;
    const int result = RealFileSystem().MakeFolder(path);
    if (result == 0) Undoable(path, [path = std::string(path)] { std::filesystem::remove_all(path); });
    return result;
  }
  int Unlink(const char* path) override {
    absl::MutexLock lock(&mutex_);
    struct stat info;
    if (!dead_ && lstat(path, &info) != 0) return -1;  // changes nothing
    if (Fails()) return -1;
    const std::string grave = Bury();
    if (::rename(path, grave.c_str()) != 0) return -1;
    Undoable(path, [path = std::string(path), grave] { ::rename(grave.c_str(), path.c_str()); });
    return 0;
  }
  int RemoveFolder(const char* path) override {
    absl::MutexLock lock(&mutex_);
    if (Fails()) return -1;
    const int result = RealFileSystem().RemoveFolder(path);
    if (result == 0) Undoable(path, [path = std::string(path)] { mkdir(path.c_str(), 0777); });
    return result;
  }

 private:
  static constexpr bool kNeedsRoom = true;
  struct Unsynced {
    ino_t inode;
    int fd;  // a duplicate, by which the file is found whatever its name
  };
  struct Change {
    ino_t folder;  // whose flushing makes it last
    std::function<void()> undo;
  };

  static int Fail(int error) {
    errno = error;
    return -1;
  }
  static bool Drop(const Unsynced& file) {
    close(file.fd);
    return true;
  }
  // Counts the call; true where it must not happen, with errno set.
  bool Fails(bool needs_room = false) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (dead_) return Fail(EIO) < 0;
    const int64_t call = calls_++;
    if (fault_ == Fault::kDiskFull && call >= at_) {
      hit_ = true;
      return needs_room && Fail(ENOSPC) < 0;
    }
    if (call != at_ || fault_ == Fault::kNone) return false;
    hit_ = true;
    if (fault_ == Fault::kShortWrite) return false;
    if (fault_ == Fault::kNoSpace) return Fail(ENOSPC) < 0;
    if (fault_ == Fault::kPowerLoss) LosePower();
    dead_ = fault_ != Fault::kIoError;
    return Fail(EIO) < 0;
  }
  void LosePower() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const Unsynced& file : unsynced_) (void)!ftruncate(file.fd, 0);
    for (auto change = undo_.rbegin(); change != undo_.rend(); ++change) change->undo();
    Forget();
  }
  void Dirty(int fd) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    struct stat info;
    fstat(fd, &info);
    for (const Unsynced& file : unsynced_) {
      if (file.inode == info.st_ino) return;
    }
    unsynced_.push_back({info.st_ino, dup(fd)});
  }
  void Undoable(const std::string& path, std::function<void()> undo) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    struct stat info {};
    stat(std::filesystem::path(path).parent_path().c_str(), &info);
    undo_.push_back({info.st_ino, std::move(undo)});
  }
  std::string Bury() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return graveyard_ + "/" + std::to_string(buried_++); }
  void Forget() {
    for (const Unsynced& file : unsynced_) close(file.fd);
    unsynced_.clear();
    undo_.clear();
  }

  const std::string graveyard_;
  mutable absl::Mutex mutex_;
  Fault fault_ = Fault::kNone;
  int64_t at_ = 0, calls_ = 0, buried_ = 0;
  bool dead_ = false, hit_ = false;
  std::vector<Unsynced> unsynced_;
  std::vector<Change> undo_;
};

}  // namespace photon::testing
