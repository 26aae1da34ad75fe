// Which rank is missing: when a collective hangs, ranks ask each other what they are in.
//
// Each rank answers from its watchdog's thread, so one whose computation is stuck answers too, and says so. One that
// is stopped, dead or cut off does not: it is named for that.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/side_channel.h"

namespace photon {

// What a rank says of itself.
struct RankActivity {
  bool waits = false;  // in a call of a communicator, for others
  std::string call;    // that call, or else the last one: "#12 all-reduce gradients f32[100]"
};

class RollCall {
 public:
  // `hosts`: each rank's machine, for messages.
  RollCall(std::unique_ptr<SideChannel> channel, std::vector<std::string> hosts);

  void Ask();  // all others
  bool asked() const { return asked_; }
  void Forget() { asked_ = false; }  // what hung goes on

  // Answers what others have asked, and takes in what they answered. To be called several times a timeout.
  void Poll(const RankActivity& own);

  // Since Ask(): whether a rank below this one is known to wait, and so reports too.
  bool LowerWaits() const;
  // Since Ask(): "rank 3 (node2) does not answer; ..", the ranks to blame first, then what the others are in.
  std::string Findings(const RankActivity& own) const;

 private:
  struct Answer {
    bool arrived = false;
    RankActivity activity;
  };

  const std::unique_ptr<SideChannel> channel_;
  const std::vector<std::string> hosts_;
  bool asked_ = false;
  std::vector<Answer> answers_;
};

// Of all ranks of `world`; null for one alone, and where the transport has no side channel. All ranks call it.
absl::StatusOr<std::unique_ptr<RollCall>> RollCallOf(Communicator& world, std::vector<std::string> hosts);

}  // namespace photon
