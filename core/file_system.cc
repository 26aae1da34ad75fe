#include "core/file_system.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

namespace photon {
namespace {

class OperatingSystem : public FileSystem {
 public:
  int Open(const char* path, int flags) override { return open(path, flags | O_CLOEXEC, 0666); }
  int Close(int fd) override { return close(fd); }
  ssize_t Write(int fd, const void* bytes, size_t count) override { return write(fd, bytes, count); }
  int Truncate(int fd, off_t size) override { return ftruncate(fd, size); }
  int Sync(int fd) override { return fsync(fd); }
  int Rename(const char* from, const char* to) override { return rename(from, to); }
  int Exchange(const char* a, const char* b) override {
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
  }
  int MakeLink(const char* target, const char* path) override { return symlink(target, path); }
  int MakeFolder(const char* path) override { return mkdir(path, 0777); }
  int Unlink(const char* path) override { return unlink(path); }
  int RemoveFolder(const char* path) override { return rmdir(path); }
};

}  // namespace

FileSystem& RealFileSystem() {
  static OperatingSystem system;  // without state
  return system;
}

}  // namespace photon
