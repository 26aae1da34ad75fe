// Connections for which there is no room: each gets an answer that is known before, once it has asked something, and is
// closed. One thread looks after all of them and never waits for one.
//
// An answer that comes before the request would be lost on clients that take it for an answer to nothing; and closing
// with input unread resets the connection, which can take the answer away. So a socket is kept until its client has
// closed, for a second at most.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

struct pollfd;

namespace photon {

class TurnedAway {
 public:
  // `answered` is called for each answer.
  TurnedAway(std::string answer, std::function<void()> answered)
      : answer_(std::move(answer)), answered_(std::move(answered)) {}
  // Answers and closes those that are left.
  ~TurnedAway();

  // Takes the socket. Beyond 256 the one that has waited longest is answered and closed.
  void Add(int socket);
  // What to wait for, besides others.
  void AppendTo(std::vector<pollfd>* polled) const;
  // Reads, answers and closes as far as nothing has to be waited for.
  void Look();

 private:
  struct Connection {
    int socket;  // -1: closed
    absl::Time until;
    bool answered = false;
  };
  void Look(Connection& connection) const;
  void Answer(Connection& connection) const;
  void Close(Connection& connection) const;

  const std::string answer_;
  const std::function<void()> answered_;
  std::deque<Connection> connections_;
};

}  // namespace photon
