// HTTP as the server's endpoints see it: who asks for what, and what they answer. Plain data; what speaks the protocol
// is behind http_server.h.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace photon {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// A request without its body.
struct HttpHead {
  std::string method = {};
  std::string path = {};  // decoded, without a query
  std::string content_type = {};
  std::string authorization = {};
  std::string origin = {};  // of the page that asks, where a browser does
  std::string content_encoding = {};
  std::string transfer_encoding = {};
  std::optional<uint64_t> content_length = {};
  // Headers that others may read differently, such as a proxy before this server: two lengths, one that is no number,
  // or one beside a transfer encoding.
  bool ambiguous_length = false;

  bool has_body() const { return ambiguous_length || !transfer_encoding.empty() || content_length.value_or(0) > 0; }
};

constexpr int kHeadTooLarge = 431;
constexpr int kClientLeft = 499;  // as nginx counts it; nobody gets to read it

// Sends a piece of a body at once. False where the client has left.
using BodyWriter = std::function<bool(absl::string_view piece)>;
// Whether the client has closed the connection. Cheap: a look at the socket.
using ClientGone = std::function<bool()>;

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  HttpHeaders headers = {};
  // Where set, it writes the body, on the connection's thread. Returns the status to be counted: another than that of
  // the head where the stream ends with an error, kClientLeft where its client left before.
  std::function<int(const BodyWriter&)> stream = nullptr;
};

// Called by many threads at once, one a connection.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // An answer that needs no body, before any of it is read: what is not allowed, not there or too large. `crowded`: the
  // connection is one of a few beyond the limit, for health checks and for saying that there are too many.
  virtual std::optional<HttpResponse> Refuse(const HttpHead& head, bool crowded) = 0;
  virtual HttpResponse Handle(const HttpHead& head, const std::string& body, const ClientGone& gone) = 0;
  // What to say for errors of the protocol itself (400, 413, 414, 431, 500 ..; 503: there is no room for a connection);
  // `message` may be empty.
  virtual HttpResponse Error(int status, const std::string& message) = 0;
  // What every answer to this request has besides its own headers; where the head was none, the empty one's.
  virtual HttpHeaders HeadersFor(const HttpHead& head) = 0;
  // A response with this status was sent, or, of a stream, an error that has it; 499: its client left before the end.
  virtual void Done(int status) = 0;
};

}  // namespace photon
