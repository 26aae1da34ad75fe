#include "core/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/human.h"

namespace photon {

ProgressLine::ProgressLine(std::string what, bool shown, int64_t already, Unit unit)
    : what_(std::move(what)), shown_(shown), terminal_(isatty(STDERR_FILENO) != 0), already_(already), unit_(unit) {}

ProgressLine::~ProgressLine() {
  if (printed_ && terminal_) std::fputc('\n', stderr);
}

void ProgressLine::Update(int64_t done, int64_t total) {
  const double now = Now(), elapsed = now - start_;
  if (!shown_ || done <= already_ || elapsed < 2 || (printed_ && now - last_ < (terminal_ ? 0.5 : 10))) return;
  last_ = now;
  printed_ = true;
  const double rate = static_cast<double>(done - already_) / elapsed;
  const double left = static_cast<double>(std::max<int64_t>(total - done, 0)) / rate;
  const std::string amount = unit_ == Unit::kThings ? absl::StrCat(HumanCount(done), " of ", HumanCount(total))
                                                    : absl::StrCat(HumanBytes(done), " of ", HumanBytes(total), ", ",
                                                                   HumanBytes(static_cast<int64_t>(rate)), "/s");
  std::fprintf(stderr, "%s%s: %s, %s left%s", terminal_ ? "\r" : "", what_.c_str(), amount.c_str(),
               HumanDuration(left).c_str(), terminal_ ? "\033[K" : "\n");
  std::fflush(stderr);
}

void ProgressLine::Say(absl::string_view message) {
  if (!shown_) return;
  Clear();
  std::fputs(absl::StrCat(message, "\n").c_str(), stderr);
}

void ProgressLine::Clear() {
  if (printed_ && terminal_) std::fputs("\r\033[K", stderr);
}

}  // namespace photon
