#include "inference/server/socket_stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/steady_time.h"

namespace photon {
namespace {

// A client that takes nothing for so long has left without saying so.
constexpr absl::Duration kWriteTimeout = absl::Seconds(30);
constexpr size_t kMostLineBytes = 16 << 10;  // httplib gives up beyond some length, without a word, or never

}  // namespace

bool SocketStream::Wait(short events, absl::Time deadline) const {
  for (;;) {
    pollfd polled{socket_, events, 0};
    const absl::Duration left = std::clamp(deadline - SteadyNow(), absl::ZeroDuration(), absl::Hours(1));
    const int ready =
        poll(&polled, 1, static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)))));
    if (ready > 0) return true;  // errors too: the read or write that follows meets them
    if (ready < 0 && errno != EINTR) return false;
    if (ready == 0 && SteadyNow() >= deadline) return false;
  }
}

bool SocketStream::AwaitInput(absl::Duration most) { return begin_ < end_ || Wait(POLLIN, SteadyNow() + most); }

void SocketStream::BeginHead(absl::Time deadline, size_t most_bytes) {
  deadline_ = deadline;
  readable_bytes_ = most_bytes;
  head_.emplace();
}

void SocketStream::BeginBody(absl::Time deadline, size_t most_bytes) {
  deadline_ = deadline;
  readable_bytes_ = most_bytes;
  head_.reset();
}

bool SocketStream::PeerClosed() const {
  pollfd polled{socket_, POLLRDHUP, 0};
  return poll(&polled, 1, 0) > 0;
}

void SocketStream::Linger(absl::Duration most) {
  shutdown(socket_, SHUT_WR);
  const absl::Time deadline = SteadyNow() + most;
  while (Wait(POLLIN, deadline) && recv(socket_, buffer_.data(), buffer_.size(), 0) > 0 && SteadyNow() < deadline) {
  }
}

bool SocketStream::is_readable() const { return begin_ < end_ || Wait(POLLIN, deadline_); }

ssize_t SocketStream::read(char* bytes, size_t size) {
  if (readable_bytes_ == 0 || (head_.has_value() && !head_->sound())) return -1;
  if (begin_ == end_) {
    if (!Wait(POLLIN, deadline_)) return -1;
    const ssize_t got = recv(socket_, buffer_.data(), buffer_.size(), 0);
    if (got <= 0) return got;
    begin_ = 0;
    end_ = static_cast<size_t>(got);
  }
  const size_t given = std::min({size, end_ - begin_, readable_bytes_});
  std::memcpy(bytes, buffer_.data() + begin_, given);
  begin_ += given;
  readable_bytes_ -= given;
  if (head_.has_value()) {
    head_->Take({bytes, given});
    if (head_->line_bytes() > kMostLineBytes) readable_bytes_ = 0;
  }
  return static_cast<ssize_t>(given);
}

ssize_t SocketStream::write(const char* bytes, size_t size) {
  const absl::Time deadline = SteadyNow() + kWriteTimeout;
  for (;;) {
    const ssize_t sent = send(socket_, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return -1;
    if (!Wait(POLLOUT, deadline)) return -1;
  }
}

}  // namespace photon
