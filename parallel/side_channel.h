// Short messages between ranks beside their collectives: what works while a collective hangs.
//
// Belongs to one thread (a watchdog's), which need not be the communicator's. Nothing here waits for anybody, and a
// message may be lost where a rank or a connection is gone.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace photon {

class SideChannel {
 public:
  static constexpr int kBytes = 256;  // of a message; what is longer is cut

  struct Message {
    int from = 0;
    std::string text;
  };

  virtual ~SideChannel() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void Send(int to, absl::string_view text) = 0;
  virtual std::optional<Message> Poll() = 0;  // the next one that has arrived
};

}  // namespace photon
