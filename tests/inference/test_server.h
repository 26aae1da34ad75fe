// A server in this process, on a free port, with a small model of random weights, and clients of it.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "data/train_tokenizer.h"
#include "inference/server/httplib.h"
#include "inference/server/server.h"
#include "tests/support/models.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace photon::testing {

inline std::shared_ptr<const Tokenizer> SmallTokenizer() {
  TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 20; ++i) text += "the end of the beginning of the end\n";
  CorpusOptions corpus;
  corpus.files = {folder.Write("t.txt", text)};
  return *Tokenizer::FromBytes(*TrainTokenizer(corpus, 280), "test");
}

struct TestServerOptions {
  bool tokenizer = true;
  bool broken = false;  // weights that are no numbers
  bool flat = false;    // no levels
  EngineOptions engine = {};
  ServerOptions server = {};
};

class TestServer {
 public:
  explicit TestServer(TestServerOptions options = {}) {
    if (options.tokenizer) tokenizer_ = SmallTokenizer();
    TinyModel tiny;
    tiny.vocab = tokenizer_ == nullptr ? 19 : static_cast<int>(tokenizer_->vocab_size());
    if (options.flat) tiny.chunks = {};
    model_ = MakeModel(context_, tiny);
    if (options.broken) MakeNan(context_, *model_);
    decoder_ = Decoder::Create(context_, *model_);
    engine_ = std::make_unique<Engine>(*decoder_, tokenizer_, options.engine);
    options.server.http.port = 0;
    options.server.model_name = "tiny";
    server_ = *Server::Start(*engine_, options.server);
    runner_ = std::thread([this] {
      server_->Run();
      over_ = true;
    });
  }
  ~TestServer() {
    server_->End();
    runner_.join();
  }

  Server& operator*() { return *server_; }
  Server* operator->() { return server_.get(); }
  Engine& engine() { return *engine_; }
  const Decoder& decoder() { return *decoder_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() { return tokenizer_; }
  bool over() const { return over_; }

  httplib::Client Client() const {
    httplib::Client client("127.0.0.1", server_->port());
    client.set_read_timeout(60);
    return client;
  }
  // A response to POST /v1/completions, whose body is `fields` in braces.
  httplib::Response Complete(const std::string& fields, const httplib::Headers& headers = {}) const {
    return Post(absl::StrCat("{", fields, "}"), headers);
  }
  httplib::Response Post(const std::string& body, const httplib::Headers& headers = {},
                         const std::string& path = "/v1/completions") const {
    const httplib::Result result = Client().Post(path, headers, body, "application/json");
    if (!result)
      ADD_FAILURE() << "no response: " << httplib::to_string(result.error()) << " to " << body.substr(0, 200);
    return result ? *result : httplib::Response();
  }

 private:
  TestContext context_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
  std::atomic<bool> over_ = false;
  std::thread runner_;
};

// Fields of a completion that goes on until somebody ends it.
inline constexpr char kLong[] = R"("prompt": "the", "max_tokens": 1000000, "ignore_eos": true)";

// Bytes as they are, for what no client library sends.
class RawClient {
 public:
  explicit RawClient(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const timeval patience{30, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  ~RawClient() { close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False where the server has closed.
  bool Send(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  void EndInput() { shutdown(socket_, SHUT_WR); }
  // Up to and with `end`, or all there is.
  std::string Receive(const std::string& end = "") {
    std::string got;
    for (char byte; end.empty() || got.find(end) == std::string::npos; got.push_back(byte)) {
      if (recv(socket_, &byte, 1, 0) <= 0) break;
    }
    return got;
  }

 private:
  const int socket_;
};

inline std::string RawPost(const std::string& body, const std::string& protocol = "HTTP/1.1") {
  return absl::StrCat("POST /v1/completions ", protocol,
                      "\r\nContent-Type: application/json\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
}

inline bool Soon(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return false;
}

inline nlohmann::json ErrorOf(const httplib::Response& response) {
  return nlohmann::json::parse(response.body, nullptr, false).value("error", nlohmann::json::object());
}

// The objects of a stream of events; the last must be [DONE].
inline std::vector<nlohmann::json> EventsOf(const std::string& body) {
  std::vector<nlohmann::json> events;
  size_t at = 0;
  for (size_t end = 0; (end = body.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const std::string data = body.substr(at, end - at);
    EXPECT_EQ(data.substr(0, 6), "data: ");
    if (data == "data: [DONE]") {
      EXPECT_EQ(end + 2, body.size());
      return events;
    }
    events.push_back(nlohmann::json::parse(data.substr(6)));
  }
  ADD_FAILURE() << "no [DONE] in " << body;
  return events;
}

}  // namespace photon::testing
