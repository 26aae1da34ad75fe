#include "launch/line_input.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/file.h"

namespace photon {
namespace {

// Also where it has ended or is broken: reading says so at once.
bool Readable(int fd, int milliseconds) {
  pollfd input = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&input, 1, milliseconds) > 0;
}

}  // namespace

absl::StatusOr<LineInput> LineInput::Open(const std::string& path) {
  if (path == "-") return LineInput("stdin", STDIN_FILENO, 0);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat("input ", path, ": is a folder; name a file of JSON lines"));
  }
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "input", path);
  const uintmax_t size = std::filesystem::file_size(path, error);
  return LineInput(path, fd, error ? 0 : static_cast<int64_t>(size));
}

LineInput::LineInput(LineInput&& other) noexcept
    : name_(std::move(other.name_)),
      fd_(std::exchange(other.fd_, STDIN_FILENO)),
      buffer_(std::move(other.buffer_)),
      begin_(other.begin_),
      end_(other.end_),
      searched_(other.searched_),
      ended_(other.ended_),
      error_(other.error_),
      number_(other.number_),
      bytes_read_(other.bytes_read_),
      bytes_(other.bytes_) {}

LineInput::~LineInput() {
  if (fd_ != STDIN_FILENO) close(fd_);
}

absl::StatusOr<bool> LineInput::Next(std::string* line) {
  Find(/*wait=*/true);
  if (begin_ == buffer_.size()) {
    if (error_ == 0) return false;
    return absl::DataLossError(
        absl::StrCat(name_, ", line ", number_ + 1, ": cannot be read: ", std::strerror(error_)));
  }
  line->assign(buffer_, begin_, end_ - begin_);
  Drop();
  return true;
}

// Whether the next line is in the buffer as a whole, or there is none any more.
bool LineInput::Find(bool wait) {
  for (;;) {
    const size_t end = buffer_.find('\n', searched_);
    if (end == std::string::npos && !ended_) {
      searched_ = buffer_.size();
      if (!wait && !Readable(fd_, 0)) return false;
      Read();
      continue;
    }
    end_ = std::min(end, buffer_.size());
    const absl::string_view line = absl::string_view(buffer_).substr(begin_, end_ - begin_);
    if (begin_ == buffer_.size() || !absl::StripAsciiWhitespace(line).empty()) return true;
    Drop();
  }
}

void LineInput::Read() {
  constexpr size_t kBytes = 64 << 10;
  buffer_.erase(0, begin_);
  searched_ -= std::exchange(begin_, 0);
  const size_t size = buffer_.size();
  buffer_.resize(size + kBytes);
  const ssize_t got = read(fd_, buffer_.data() + size, kBytes);
  buffer_.resize(size + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (got > 0 || (got < 0 && errno == EINTR)) return;
  if (got < 0 && errno == EAGAIN) {  // whoever gave us this descriptor made it so
    Readable(fd_, -1);
    return;
  }
  ended_ = true;
  if (got < 0) error_ = errno;
}

void LineInput::Drop() {
  ++number_;
  bytes_read_ += static_cast<int64_t>(end_ - begin_) + 1;
  begin_ = searched_ = std::min(end_ + 1, buffer_.size());
}

}  // namespace photon
