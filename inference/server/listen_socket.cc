#include "inference/server/listen_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace photon {
namespace {

// Clients that connect at once wait here, until they are accepted; httplib's own 5 made others try again after a
// second.
constexpr int kBacklog = 1024;

absl::Status Refuse(const std::string& host, int port, int error) {
  const std::string where = absl::StrCat("cannot listen on ", host, ", port ", port, ": ", std::strerror(error));
  switch (error) {
    case EADDRINUSE:
      return absl::UnavailableError(absl::StrCat(where, "; another program does: end it, or choose another --port"));
    case EACCES:
      return absl::UnavailableError(absl::StrCat(where, "; ports below 1024 are root's: choose another --port"));
    case EADDRNOTAVAIL:
      return absl::InvalidArgumentError(absl::StrCat(where, "; give an address of this machine, or 0.0.0.0 for all"));
    default:
      return absl::UnavailableError(where);
  }
}

}  // namespace

absl::StatusOr<int> ListeningSocket(const std::string& host, int port) {
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found); error != 0) {
    return absl::InvalidArgumentError(absl::StrCat("--host ", host, ": ", gai_strerror(error),
                                                   "; give a name or address of this machine, such as 127.0.0.1"));
  }
  int last_error = 0;
  int listening = -1;
  for (const addrinfo* at = found; at != nullptr && listening < 0; at = at->ai_next) {
    const int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
    const int on = 1;
    // A server that is started again need not wait for its old connections. Not SO_REUSEPORT, httplib's choice: two
    // servers would share a port without noticing.
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd >= 0 && bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, kBacklog) == 0) {
      listening = fd;
      continue;
    }
    last_error = errno;
    if (fd >= 0) close(fd);
  }
  freeaddrinfo(found);
  if (listening < 0) return Refuse(host, port, last_error);
  return listening;
}

int PortOf(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  const bool v6 = address.ss_family == AF_INET6;
  return ntohs(v6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                  : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

}  // namespace photon
