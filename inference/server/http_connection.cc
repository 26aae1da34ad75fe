#include "inference/server/http_connection.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "core/steady_time.h"
#include "inference/server/last_answer.h"
#include "inference/server/socket_stream.h"

namespace photon {
namespace {

constexpr absl::Duration kKeepAlive = absl::Seconds(5);
constexpr char kKeepAliveHeader[] = "timeout=5";  // the same: clients open another connection in time
constexpr absl::Duration kHeadTime = absl::Seconds(10), kCrowdedHeadTime = absl::Seconds(1);
constexpr absl::Duration kBodyTime = absl::Seconds(60);
constexpr absl::Duration kLinger = absl::Seconds(2);
constexpr size_t kHeadBytes = 64 << 10;

// Digits alone: what reads numbers elsewhere may take signs and spaces, or not.
std::optional<uint64_t> LengthOf(const std::string& text) {
  uint64_t length = 0;
  const bool number = std::all_of(text.begin(), text.end(), absl::ascii_isdigit) && absl::SimpleAtoi(text, &length);
  return number ? std::optional(length) : std::nullopt;
}

// Of a target as clients give it to proxies, http://HOST/PATH, which servers must take too (RFC 9112, 3.2.2), the path.
std::string PathOf(const std::string& target) {
  const size_t scheme = target.find("://");
  if (scheme == target.npos || scheme > target.find('/')) return target;
  const size_t path = target.find('/', scheme + 3);
  return path == target.npos ? "/" : target.substr(path);
}

HttpHead HeadOf(const httplib::Request& request) {
  HttpHead head;
  head.method = request.method;
  head.path = PathOf(request.path);
  head.content_type = request.get_header_value("Content-Type");
  head.origin = request.get_header_value("Origin");
  head.authorization = request.get_header_value("Authorization");
  head.content_encoding = request.get_header_value("Content-Encoding");
  head.transfer_encoding = request.get_header_value("Transfer-Encoding");
  head.content_length = LengthOf(request.get_header_value("Content-Length"));
  const size_t lengths = request.get_header_value_count("Content-Length");
  const size_t encodings = request.get_header_value_count("Transfer-Encoding");
  head.ambiguous_length = lengths + encodings > 1 || (lengths == 1 && !head.content_length.has_value());
  return head;
}

// httplib's server made to serve one given connection: it parses, routes and writes, while sockets, times and limits
// are ours.
class Connection : private httplib::Server {
 public:
  Connection(int socket, const ConnectionOptions& options, HttpHandler& handler)
      : options_(options), handler_(handler), stream_(socket) {
    svr_sock_ = socket;  // httplib takes a server without a socket for one that is shutting down, and ends its streams
    set_expect_100_continue_handler([this](const httplib::Request&, httplib::Response& response) {
      if (!refusal_.has_value()) return 100;
      Answer(*std::move(refusal_), response);
      return response.status;
    });
    set_pre_routing_handler(
        [this](const httplib::Request& request, httplib::Response& response) { return Route(request, response); });
    Post(".*", [this](const httplib::Request&, httplib::Response& response, const httplib::ContentReader& reader) {
      ReadAndHandle(reader, response);
    });
    // Whether the connection goes on is known only now; httplib has promised that it does, for so many requests as it
    // would answer itself. After a head that is none it does not.
    set_post_routing_handler([this](const httplib::Request&, httplib::Response& response) {
      response.headers.erase("Keep-Alive");
      if (response.status == 204) response.headers.erase("Content-Length");  // httplib's, and not allowed
      if (response.has_header("Connection")) return;
      if (understood_ && !close_) return response.set_header("Keep-Alive", kKeepAliveHeader);
      response.set_header("Connection", "close");
    });
    set_error_handler(HandlerWithResponse([this](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return HandlerResponse::Handled;
      const bool too_long = !understood_ && stream_.full();  // httplib takes a head that was cut for none
      Answer(handler_.Error(too_long ? kHeadTooLarge : response.status, ""), response);
      return HandlerResponse::Handled;
    }));
    set_exception_handler([this](const httplib::Request&, httplib::Response& response, std::exception_ptr thrown) {
      try {
        std::rethrow_exception(std::move(thrown));
      } catch (const std::exception& error) {
        Answer(handler_.Error(500, error.what()), response);
      } catch (...) {
        Answer(handler_.Error(500, "unknown exception"), response);
      }
    });
    set_logger([this](const httplib::Request&, const httplib::Response& response) {
      handler_.Done(counted_.value_or(response.status));
    });
  }
  ~Connection() override { svr_sock_ = INVALID_SOCKET; }

  void Serve() {
    const absl::Duration head_time = options_.crowded ? kCrowdedHeadTime : kHeadTime;
    for (bool first = true; stream_.AwaitInput(first ? head_time : kKeepAlive); first = false) {
      ++*options_.busy;
      stream_.BeginHead(SteadyNow() + head_time, kHeadBytes);
      bool closed = false;
      head_ = {};
      understood_ = unread_ = false;
      counted_.reset();
      const bool written = Process(stream_, closed);
      const bool refused = !written && !understood_ && stream_.full();
      if (refused) RefuseHead();
      --*options_.busy;
      // What follows a head that was no head is none either.
      if (refused || (written && (unread_ || !understood_))) return stream_.Linger(kLinger);
      if (!written || closed || close_ || options_.crowded) return;
    }
  }

 private:
  void SetUp(httplib::Request& request) {
    understood_ = true;
    // A body that compresses well counts as what it becomes; the reader below counts that.
    stream_.BeginBody(SteadyNow() + kBodyTime, options_.max_body_bytes + kHeadBytes);
    request.ranges.clear();  // nothing here is worth asking for in parts
    old_protocol_ = request.version == "HTTP/1.0";
    head_ = HeadOf(request);
    refusal_ = handler_.Refuse(head_, options_.crowded);
    // A body that nobody reads must not be taken for the next request; nor what follows chunks, whose sizes and ends
    // httplib takes as they come; nor what a POST without a length may have sent.
    const bool read = head_.method == "POST" && !refusal_.has_value() && head_.transfer_encoding.empty();
    unread_ = !read && (head_.has_body() || head_.method == "POST");
    if (!unread_ && !old_protocol_ && !options_.last->load()) return;
    close_ = true;
    request.headers.erase("Connection");
    request.set_header("Connection", "close");
  }

  // In newer httplibs (0.18, not 0.11) requests are told who sent them, which nothing here asks for. (A template, so
  // that only the call that there is is compiled.)
  template <typename Stream>
  bool Process(Stream& stream, bool& closed) {
    const std::function<void(httplib::Request&)> set_up = [this](httplib::Request& request) { SetUp(request); };
    if constexpr (requires { this->process_request(stream, "", 0, "", 0, true, closed, set_up); }) {
      return this->process_request(stream, "", 0, "", 0, options_.crowded, closed, set_up);
    } else {
      return this->process_request(stream, options_.crowded, closed, set_up);
    }
  }

  // A line that is longer than all of a head may be: httplib can't tell what it was to be, and says nothing.
  void RefuseHead() {
    const std::string bytes = LastAnswer(kHeadTooLarge, handler_);
    stream_.write(bytes.data(), bytes.size());
    handler_.Done(kHeadTooLarge);
  }

  HandlerResponse Route(const httplib::Request& request, httplib::Response& response) {
    if (refusal_.has_value()) {
      Answer(*std::move(refusal_), response);
      return HandlerResponse::Handled;
    }
    if (request.method == "POST") return HandlerResponse::Unhandled;
    Answer(handler_.Handle(head_, "", Gone()), response);
    return HandlerResponse::Handled;
  }

  void ReadAndHandle(const httplib::ContentReader& reader, httplib::Response& response) {
    std::string body;
    bool too_large = false;
    const bool read = reader([&](const char* bytes, size_t size) {
      too_large = body.size() + size > options_.max_body_bytes;
      if (!too_large) body.append(bytes, size);
      return !too_large;
    });
    if (read) return Answer(handler_.Handle(head_, body, Gone()), response);
    unread_ = true;
    close_ = true;
    too_large = too_large || stream_.full();  // chunks of few bytes each, say
    Answer(
        handler_.Error(too_large ? 413 : 400,
                       too_large ? "" : "the body ended early, came too slowly, or is not encoded as the headers say"),
        response);
  }

  ClientGone Gone() {
    return [this] { return stream_.PeerClosed(); };
  }

  void Answer(HttpResponse answer, httplib::Response& response) {
    response.status = answer.status;
    for (const auto& [name, value] : answer.headers) response.set_header(name, value);
    for (const auto& [name, value] : handler_.HeadersFor(head_)) response.set_header(name, value);
    if (answer.status == 204) return;  // has neither a body nor a type
    if (answer.stream == nullptr) {
      response.set_content(answer.body, answer.content_type);
      return;
    }
    const auto provider = [this, stream = std::move(answer.stream)](size_t, httplib::DataSink& sink) {
      counted_ =
          stream([&](absl::string_view piece) { return sink.is_writable() && sink.write(piece.data(), piece.size()); });
      if (counted_ != kClientLeft) sink.done();
      return counted_ != kClientLeft;
    };
    if (old_protocol_) {  // knows no chunks: the end of the connection is the end of the body
      response.set_content_provider(answer.content_type, provider);
    } else {
      response.set_chunked_content_provider(answer.content_type, provider);
    }
  }

  const ConnectionOptions options_;
  HttpHandler& handler_;
  SocketStream stream_;
  // Of the request at hand.
  HttpHead head_;
  std::optional<HttpResponse> refusal_;
  bool old_protocol_ = false;
  bool understood_ = false;     // its head
  bool unread_ = false;         // some of its body, maybe
  bool close_ = false;          // after it
  std::optional<int> counted_;  // what its stream came to
};

}  // namespace

void ServeConnection(int socket, const ConnectionOptions& options, HttpHandler& handler) {
  Connection(socket, options, handler).Serve();
}

}  // namespace photon
