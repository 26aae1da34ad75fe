// One connection: its requests, one after the other, until it ends.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "inference/server/http.h"

namespace photon {

struct ConnectionOptions {
  size_t max_body_bytes = 0;
  bool crowded = false;                     // one of a few beyond the limit: one request, quickly
  const std::atomic<bool>* last = nullptr;  // set: the next request is this connection's last
  // Counts connections between a request's first byte and its response's end. It counts before the byte is taken from
  // the socket: who looks for input first, and here then, misses none.
  std::atomic<int64_t>* busy = nullptr;
};

// Blocks until the connection is over; the caller closes the socket.
void ServeConnection(int socket, const ConnectionOptions& options, HttpHandler& handler);

}  // namespace photon
