// What a program asks of the operating system in order to write files, behind one small interface: everything a
// checkpoint's save does to the disk goes through it, so that tests can make any single call fail (docs/checkpoints.md).
//
// Methods are the system calls of that name: -1 with errno set on failure, any number of threads at once. Reading is no
// part of it: it changes nothing.
#pragma once

#include <sys/types.h>

#include <cstddef>

namespace photon {

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // A descriptor with close-on-exec; `flags` as for open(2). Files are created with mode 0666, folders with 0777.
  virtual int Open(const char* path, int flags) = 0;
  virtual int Close(int fd) = 0;
  virtual ssize_t Write(int fd, const void* bytes, size_t count) = 0;  // may write less
  virtual int Truncate(int fd, off_t size) = 0;
  virtual int Sync(int fd) = 0;  // of a file, or of a folder's entries
  virtual int Rename(const char* from, const char* to) = 0;
  virtual int Exchange(const char* a, const char* b) = 0;  // renameat2 with RENAME_EXCHANGE
  virtual int MakeLink(const char* target, const char* path) = 0;  // symbolic
  virtual int MakeFolder(const char* path) = 0;
  virtual int Unlink(const char* path) = 0;
  virtual int RemoveFolder(const char* path) = 0;  // an empty one
};

// The operating system itself.
FileSystem& RealFileSystem();

}  // namespace photon
