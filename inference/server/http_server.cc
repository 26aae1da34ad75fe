#include "inference/server/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <set>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "inference/server/http_connection.h"
#include "inference/server/last_answer.h"
#include "inference/server/listen_socket.h"
#include "inference/server/turned_away.h"

namespace photon {
namespace {

// Connections beyond the limit that are told so, and through which health checks still get.
constexpr int64_t kCrowdedConnections = 4;

class ThreadedServer : public HttpServer {
 public:
  ThreadedServer(int listening, const HttpServerOptions& options, HttpHandler& handler)
      : options_(options), handler_(handler), listening_(listening), port_(PortOf(listening)) {}
  ~ThreadedServer() override { Stop(); }

  void Accept() override {
    acceptor_ = std::thread([this] { AcceptAll(); });
  }
  int port() const override { return port_; }
  int64_t connections() const override {
    absl::MutexLock lock(&mutex_);
    return static_cast<int64_t>(open_.size());
  }
  int64_t busy() const override { return busy_; }
  bool HasInput() const override {
    absl::MutexLock lock(&mutex_);
    std::vector<pollfd> polled = {{listening_, POLLIN, 0}};
    for (const int socket : open_) polled.push_back({socket, POLLIN, 0});
    return poll(polled.data(), polled.size(), 0) > 0;
  }
  void KeepNoneAlive() override { last_ = true; }

  void Stop() override {
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      stopping_ = true;
      last_ = true;
      for (const int socket : open_) shutdown(socket, SHUT_RDWR);
    }
    if (acceptor_.joinable()) acceptor_.join();
    for (std::thread& thread : threads_) thread.join();
    close(listening_);
  }

 private:
  bool stopping() const {
    absl::MutexLock lock(&mutex_);
    return stopping_;
  }

  void AcceptAll() {
    constexpr int kLookEvery = 50;  // milliseconds, for Stop
    TurnedAway turned_away(LastAnswer(503, handler_), [this] { handler_.Done(503); });
    std::vector<pollfd> polled;
    while (!stopping()) {
      polled = {{listening_, POLLIN, 0}};
      turned_away.AppendTo(&polled);
      const bool looked = poll(polled.data(), polled.size(), kLookEvery) >= 0;
      turned_away.Look();
      if (!looked || polled[0].revents == 0) continue;
      const Accepted next = Next();
      if (next.socket < 0) {
        // No file descriptors or memory left, most likely: connections that end make room.
        absl::SleepFor(absl::Milliseconds(10));
        continue;
      }
      const int on = 1;
      setsockopt(next.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // tokens go out one by one
      if (!next.admitted || !Assign(next)) turned_away.Add(next.socket);
    }
  }

  struct Accepted {
    int socket;  // -1: none
    bool crowded;
    bool admitted;
  };

  // Accepts a connection, and counts it among the open ones where there is room. In one: HasInput must find it either
  // as one that waits or as one that is open.
  Accepted Next() {
    absl::MutexLock lock(&mutex_);
    const int socket = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
    const int64_t room = options_.max_connections - static_cast<int64_t>(open_.size());
    const bool admitted = socket >= 0 && !stopping_ && room > -kCrowdedConnections;
    if (admitted) open_.insert(socket);
    return {socket, /*crowded=*/room <= 0, admitted};
  }

  // False where no thread is to be had. Threads stay for further connections: the tokenizer's library has a C library
  // of its own (data/sentencepiece), which never learns that a thread has ended and keeps what it held for it.
  bool Assign(const Accepted& accepted) {
    {
      absl::MutexLock lock(&mutex_);
      if (idle_ > waiting_.size()) {
        waiting_.push_back(accepted);
        return true;
      }
    }
    try {
      threads_.emplace_back([this, accepted] { Work(accepted); });
      return true;
    } catch (const std::system_error&) {  // no threads left: connections that end make room
      absl::MutexLock lock(&mutex_);
      open_.erase(accepted.socket);
      return false;
    }
  }

  void Work(Accepted accepted) {
    for (;;) {
      const auto body = static_cast<size_t>(options_.max_body_bytes);
      ServeConnection(accepted.socket, {body, accepted.crowded, &last_, &busy_}, handler_);
      const auto wanted = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopping_ || !waiting_.empty(); };
      absl::MutexLock lock(&mutex_);
      Close(accepted.socket);
      ++idle_;
      mutex_.Await(absl::Condition(&wanted));
      --idle_;
      if (waiting_.empty()) return;
      accepted = waiting_.front();
      waiting_.pop_front();
    }
  }

  // Stop must not meet the number of a socket that is no longer ours.
  void Close(int socket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    open_.erase(socket);
    close(socket);
  }

  const HttpServerOptions options_;
  HttpHandler& handler_;
  const int listening_;
  const int port_;
  std::atomic<bool> last_ = false;
  std::atomic<int64_t> busy_ = 0;
  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<int> open_ ABSL_GUARDED_BY(mutex_);
  std::deque<Accepted> waiting_ ABSL_GUARDED_BY(mutex_);  // for an idle thread
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;               // threads without a connection, also those about to take one
  std::vector<std::thread> threads_;                      // of connections; the acceptor's, then Stop's
  std::thread acceptor_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Listen(const HttpServerOptions& options, HttpHandler& handler) {
  const absl::StatusOr<int> listening = ListeningSocket(options.host, options.port);
  if (!listening.ok()) return listening.status();
  return std::make_unique<ThreadedServer>(*listening, options, handler);
}

}  // namespace photon
