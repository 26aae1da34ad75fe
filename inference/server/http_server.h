// Listens, and serves each connection on a thread of its own. Every function: any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "inference/server/http.h"

namespace photon {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: a free one
  // More than the requests that may wait by default: each has a connection. An idle one's thread takes 26 KiB (2,048 of
  // them, measured) and no time.
  int64_t max_connections = 2048;
  int64_t max_body_bytes = 4 << 20;
};

class HttpServer {
 public:
  // The handler outlives the server. kInvalidArgument: no such host, or not ours; kUnavailable: the port is taken or
  // needs rights.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Listen(const HttpServerOptions& options, HttpHandler& handler);
  // As Stop.
  virtual ~HttpServer() = default;

  // Serves from now on; until then, connections wait. Once.
  virtual void Accept() = 0;
  virtual int port() const = 0;
  virtual int64_t connections() const = 0;
  // Connections between a request's first byte and the end of its response.
  virtual int64_t busy() const = 0;
  // Connections, or bytes of them, have come that no thread has taken yet. What is taken is busy: ask this first.
  virtual bool HasInput() const = 0;
  // Connections end after their next answer, which says so; new ones are still answered, one request each.
  virtual void KeepNoneAlive() = 0;
  // Closes all connections, whatever they are at, and waits for their threads.
  virtual void Stop() = 0;
};

}  // namespace photon
