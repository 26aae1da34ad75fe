#include "inference/server/http_connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "core/check.h"
#include "inference/server/routes.h"
#include "tests/fuzz/targets.h"

namespace photon::fuzz {
namespace {

constexpr size_t kMostBody = 256;
// What answers hold is never read here: so many fit between the sockets.
constexpr int kMostAnswers = 16;

class Handler : public HttpHandler {
 public:
  explicit Handler(std::atomic<bool>* last) : last_(last) {}

  std::optional<HttpResponse> Refuse(const HttpHead& head, bool crowded) override {
    return RefuseByHead(head, keys_, {kMostBody, /*draining=*/false, crowded});
  }
  HttpResponse Handle(const HttpHead& head, const std::string& body, const ClientGone& gone) override {
    PHOTON_CHECK(body.size() <= kMostBody) << body.size();
    gone();
    HttpResponse response{.body = "{}"};
    if (head.method != "POST") return response;
    response.stream = [](const BodyWriter& write) { return write("piece") && write("piece") ? 200 : kClientLeft; };
    return response;
  }
  HttpResponse Error(int status, const std::string& message) override {
    PHOTON_CHECK(status < 500) << status << " " << message;
    return ErrorResponse({status, message, "", ""});
  }
  HttpHeaders HeadersFor(const HttpHead&) override { return {}; }
  void Done(int) override {
    if (++answers_ >= kMostAnswers) *last_ = true;
  }

 private:
  const ApiKeys keys_;
  std::atomic<bool>* const last_;
  int answers_ = 0;
};

}  // namespace

// A client sends these bytes, and closes its side.
void FuzzHttpConnection(absl::string_view bytes) {
  bytes = bytes.substr(0, 64 << 10);
  int sockets[2];
  PHOTON_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  const ssize_t sent = send(sockets[0], bytes.data(), bytes.size(), 0);
  PHOTON_CHECK(sent == static_cast<ssize_t>(bytes.size()));
  shutdown(sockets[0], SHUT_WR);
  std::atomic<bool> last = false;
  std::atomic<int64_t> busy = 0;
  Handler handler(&last);
  ServeConnection(sockets[1], {.max_body_bytes = kMostBody, .last = &last, .busy = &busy}, handler);
  PHOTON_CHECK_EQ(busy.load(), 0);
  close(sockets[0]);
  close(sockets[1]);
}

}  // namespace photon::fuzz
