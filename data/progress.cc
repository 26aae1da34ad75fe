#include "data/progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

namespace photon {

ProgressLine::ProgressLine(std::string what, bool shown)
    : what_(std::move(what)), shown_(shown), terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressLine::~ProgressLine() {
  if (printed_ && terminal_) std::fputc('\n', stderr);
}

void ProgressLine::Update(int64_t done, int64_t total) {
  const Clock::time_point now = Clock::now();
  const std::chrono::duration<double> elapsed = now - start_, pause = now - last_;
  if (!shown_ || done <= 0 || elapsed.count() < 2 || (printed_ && pause.count() < (terminal_ ? 0.5 : 10))) return;
  last_ = now;
  printed_ = true;
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
  std::fprintf(stderr, "%s%s: %.1f of %.1f MB, %.1f MB/s, %.0f s left%s", terminal_ ? "\r" : "", what_.c_str(),
               1e-6 * static_cast<double>(done), 1e-6 * static_cast<double>(total),
               1e-6 * static_cast<double>(done) / elapsed.count(), elapsed.count() * (share < 1 ? 1 / share - 1 : 0),
               terminal_ ? "   " : "\n");
  std::fflush(stderr);
}

}  // namespace photon
