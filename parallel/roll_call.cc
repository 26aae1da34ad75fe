#include "parallel/roll_call.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "parallel/hosts.h"

namespace photon {
namespace {

// The first byte of a message.
constexpr char kQuestion = '?', kWaits = 'w', kComputes = 'c';

}  // namespace

RollCall::RollCall(std::unique_ptr<SideChannel> channel, std::vector<std::string> hosts)
    : channel_(std::move(channel)), hosts_(std::move(hosts)), answers_(channel_->size()) {}

void RollCall::Ask() {
  asked_ = true;
  answers_.assign(channel_->size(), {});
  for (int r = 0; r < channel_->size(); ++r) {
    if (r != channel_->rank()) channel_->Send(r, absl::string_view(&kQuestion, 1));
  }
}

void RollCall::Poll(const RankActivity& own) {
  while (const std::optional<SideChannel::Message> message = channel_->Poll()) {
    if (message->text.empty()) continue;
    if (message->text[0] == kQuestion) {
      channel_->Send(message->from, absl::StrCat(std::string(1, own.waits ? kWaits : kComputes), own.call));
    } else {
      answers_[message->from] = {true, {message->text[0] == kWaits, message->text.substr(1)}};
    }
  }
}

bool RollCall::LowerWaits() const {
  for (int r = 0; r < channel_->rank(); ++r) {
    if (answers_[r].arrived && answers_[r].activity.waits) return true;
  }
  return false;
}

std::string RollCall::Findings(const RankActivity& own) const {
  // In the order of blame; ranks that say the same stand together, so that a thousand fit a few lines.
  struct Verb {
    const char *one, *several;
  };
  const Verb verbs[] = {{"does not answer: stopped, dead or cut off", "do not answer: stopped, dead or cut off"},
                        {"waits for nobody; its last call: ", "wait for nobody; their last call: "},
                        {"waits in ", "wait in "}};
  enum Blame { kSilent, kAway, kWaiting };
  std::map<std::pair<Blame, std::string>, std::vector<int>> ranks;
  for (int r = 0; r < channel_->size(); ++r) {
    const bool self = r == channel_->rank();
    const RankActivity& activity = self ? own : answers_[r].activity;
    const Blame blame = !self && !answers_[r].arrived ? kSilent : activity.waits ? kWaiting : kAway;
    ranks[{blame, blame == kSilent ? "" : activity.call}].push_back(r);
  }
  return absl::StrJoin(ranks, "; ", [this, &verbs](std::string* out, const auto& entry) {
    const auto& [key, members] = entry;
    const Verb& verb = verbs[key.first];
    absl::StrAppend(out, DescribeRanks(members, hosts_), " ", members.size() == 1 ? verb.one : verb.several,
                    key.second);
  });
}

absl::StatusOr<std::unique_ptr<RollCall>> RollCallOf(Communicator& world, std::vector<std::string> hosts) {
  if (world.size() == 1) return nullptr;
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<SideChannel> channel, world.OpenSideChannel());
  if (channel == nullptr) return nullptr;
  return std::make_unique<RollCall>(std::move(channel), std::move(hosts));
}

}  // namespace photon
