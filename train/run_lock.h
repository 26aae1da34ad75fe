// One training at a time in a run folder.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "core/status.h"

namespace photon {

// Holds RUN_DIR/lock, which names the process and its machine, from Take to the end of the object or of the process,
// however that ends. Taken by one rank for all. On a file system without locks it keeps nobody out.
class RunLock {
 public:
  // The folder must exist. One that is taken is waited for for `wait_s` seconds, since a job that is queued again may
  // start while the one before still ends; then kAlreadyExists, naming the holder, and `option` that takes another one.
  static absl::StatusOr<RunLock> Take(const std::string& run_dir, double wait_s, absl::string_view option);
  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&&) = delete;
  ~RunLock();

 private:
  explicit RunLock(int fd) : fd_(fd) {}

  int fd_ = -1;
};

}  // namespace photon
