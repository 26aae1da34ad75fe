// A connected socket as httplib's stream, with what its own one lacks: a time by which a request must have arrived
// (each single read of a slow sender is in time), a limit on what is read before its headers end (httplib keeps lines
// of any length in memory), a look at these (head_lines.h), pipelined requests, and noticing that the peer closed while
// there is input left.
//
// Used by one thread.
#pragma once

#include <array>
#include <optional>

#include "absl/time/time.h"
#include "inference/server/head_lines.h"
#include "inference/server/httplib.h"

namespace photon {

class SocketStream : public httplib::Stream {
 public:
  // Does not own the socket.
  explicit SocketStream(int socket) : socket_(socket) {}

  // Waits for a request's first byte. False where none came in time, or the peer closed.
  bool AwaitInput(absl::Duration most);
  // From here on, reads fail after `deadline`, and after `most_bytes`; of a head also after a line that is none, or
  // that is longer than lines are.
  void BeginHead(absl::Time deadline, size_t most_bytes);
  void BeginBody(absl::Time deadline, size_t most_bytes);
  bool full() const { return readable_bytes_ == 0; }  // no more is read
  bool PeerClosed() const;
  // After a response whose request was not read to its end: closing at once would reset the connection and could take
  // the response away from a client that is still sending.
  void Linger(absl::Duration most);

  bool is_readable() const override;
  bool is_writable() const override { return !PeerClosed(); }
  ssize_t read(char* bytes, size_t size) override;
  ssize_t write(const char* bytes, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override {}
  void get_local_ip_and_port(std::string& ip, int& port) const override {}
  // httplib refuses sockets that select() can't take; nothing here calls it.
  socket_t socket() const override { return 0; }

 private:
  bool Wait(short events, absl::Time deadline) const;

  const int socket_;
  absl::Time deadline_ = absl::InfiniteFuture();
  size_t readable_bytes_ = 0;
  std::optional<HeadLines> head_;  // while it is read
  std::array<char, 16384> buffer_;
  size_t begin_ = 0, end_ = 0;
};

}  // namespace photon
