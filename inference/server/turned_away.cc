#include "inference/server/turned_away.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "core/steady_time.h"

namespace photon {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(1);
constexpr size_t kMost = 256;

}  // namespace

TurnedAway::~TurnedAway() {
  for (Connection& connection : connections_) Close(connection);
}

void TurnedAway::Add(int socket) {
  connections_.push_back({socket, SteadyNow() + kPatience});
  if (connections_.size() <= kMost) return;
  Look(connections_.front());  // what it has sent must not stay unread
  if (connections_.front().socket >= 0) Close(connections_.front());
  connections_.pop_front();
}

void TurnedAway::AppendTo(std::vector<pollfd>* polled) const {
  for (const Connection& connection : connections_) polled->push_back({connection.socket, POLLIN, 0});
}

void TurnedAway::Look() {
  for (Connection& connection : connections_) Look(connection);
  std::erase_if(connections_, [](const Connection& connection) { return connection.socket < 0; });
}

void TurnedAway::Look(Connection& connection) const {
  std::array<char, 4096> unread;
  const ssize_t got = recv(connection.socket, unread.data(), unread.size(), MSG_DONTWAIT);
  if (got > 0) Answer(connection);
  const bool waits = got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
  if (!waits || SteadyNow() >= connection.until) Close(connection);
}

void TurnedAway::Answer(Connection& connection) const {
  if (std::exchange(connection.answered, true)) return;
  // It is short, and nothing was sent before: it has room.
  send(connection.socket, answer_.data(), answer_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  shutdown(connection.socket, SHUT_WR);
  answered_();
}

void TurnedAway::Close(Connection& connection) const {
  Answer(connection);
  close(std::exchange(connection.socket, -1));
}

}  // namespace photon
