#include "parallel/dry/replay.h"

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status.h"

namespace photon::dry {
namespace {

constexpr size_t kNamed = 8;  // ranks that a message about a deadlock lists

bool IsMessage(CallKind kind) {
  return kind == CallKind::kSend || kind == CallKind::kPost || kind == CallKind::kReceive;
}

class Player {
 public:
  Player(const std::vector<Played>& ranks, const Descriptions& descriptions, const CallTime& seconds)
      : ranks_(ranks), descriptions_(descriptions), seconds_(seconds), states_(ranks.size()) {
    for (size_t i = 0; i < ranks.size(); ++i) Prepare(static_cast<int>(i));
  }

  absl::StatusOr<std::vector<RankTime>> Run() {
    for (size_t i = 0; i < ranks_.size(); ++i) ready_.push_back(static_cast<int>(i));
    while (!ready_.empty()) {
      const int player = ready_.front();
      ready_.pop_front();
      PHOTON_RETURN_IF_ERROR(Advance(player));
    }
    PHOTON_RETURN_IF_ERROR(AllDone());
    std::vector<RankTime> times;
    for (State& state : states_) times.push_back(std::move(state.time));
    return times;
  }

 private:
  using Way = std::tuple<int, int, int>;  // from, to, tag
  struct Message {
    int player;
    size_t position;  // of the call
    double when;
  };
  // One communicator, as all its members see it.
  struct Group {
    const std::vector<int>* members;
    std::vector<int> players;  // those of its members that are played, in the order of `ranks_`
    size_t arrived = 0;
    double latest = 0;
    int first = 0;                            // the player that came first to the collective under way
    std::map<Way, std::deque<Message>> sent;  // and not yet received
    std::map<Way, int> receiving;             // the player that waits
  };
  struct State {
    std::vector<Group*> groups;  // by TracedCall::group
    std::vector<int> posted;     // by TracedCall::group: messages not received yet
    size_t position = 0;
    double clock = 0;    // when the rank came to the call at `position`, where it waits in it
    bool waits = false;  // in the call at `position`
    RankTime time;
  };

  void Prepare(int player) {
    const Played& played = ranks_[player];
    State& state = states_[player];
    for (const std::vector<int>* members : played.groups) {
      Group& group = groups_[{members, played.thread}];
      group.members = members;
      if (group.players.empty() || group.players.back() != player) group.players.push_back(player);
      state.groups.push_back(&group);
    }
    state.posted.resize(state.groups.size());
    state.time.communicating.resize(state.groups.size());
    state.time.waiting.resize(state.groups.size());
  }

  const TracedCall& CallOf(int player) const { return ranks_[player].trace->calls[states_[player].position]; }
  Group& GroupOf(int player) { return *states_[player].groups[CallOf(player).group]; }

  std::string Describe(int player, size_t position) const {
    const TracedCall& call = ranks_[player].trace->calls[position];
    const std::vector<int>& members = *states_[player].groups[call.group]->members;
    std::string group;
    for (size_t i = 0; i < std::min(members.size(), kNamed); ++i)
      absl::StrAppend(&group, i == 0 ? "" : " ", members[i]);
    return absl::StrCat("rank ", ranks_[player].rank, "'s call #", position + 1, " (among ranks ", group,
                        members.size() > kNamed ? " .." : "", "): ", descriptions_.Text(call.description));
  }
  std::string Describe(int player) const { return Describe(player, states_[player].position); }

  // The call at `position` is over at `end`, after `seconds` of moving bytes.
  void Finish(int player, double end, double seconds) {
    State& state = states_[player];
    const TracedCall& call = CallOf(player);
    state.time.communicating[call.group] += seconds;
    state.time.waiting[call.group] += std::max(end - state.clock - seconds, 0.0);
    state.clock = end;
    state.waits = false;
    ++state.position;
  }
  void Wake(int player, double end, double seconds) {
    Finish(player, end, seconds);
    ready_.push_back(player);
  }

  // Plays on until the rank waits or is done.
  absl::Status Advance(int player) {
    State& state = states_[player];
    const Trace& trace = *ranks_[player].trace;
    while (state.position < trace.calls.size()) {
      const TracedCall& call = trace.calls[state.position];
      state.clock += call.before;
      state.time.computing += call.before;
      state.waits = true;
      if (call.kind == CallKind::kFinishPosts) {
        if (state.posted[call.group] > 0) return absl::OkStatus();
        Finish(player, state.clock, 0);
      } else if (IsMessage(call.kind)) {
        PHOTON_RETURN_IF_ERROR(call.kind == CallKind::kReceive ? Receive(player) : Send(player));
      } else {
        PHOTON_RETURN_IF_ERROR(Collect(player));
      }
      if (state.waits) return absl::OkStatus();
    }
    state.clock += trace.after;
    state.time.computing += trace.after;
    state.time.finished = state.clock;
    return absl::OkStatus();
  }

  absl::Status Collect(int player) {
    Group& group = GroupOf(player);
    const TracedCall& call = CallOf(player);
    if (group.arrived == 0) {
      group.first = player;
      group.latest = 0;
    }
    const TracedCall& first = CallOf(group.first);
    if (first.kind != call.kind || first.description != call.description || first.bytes != call.bytes ||
        first.reduction != call.reduction || first.peer != call.peer) {
      return absl::InternalError(absl::StrCat("calls do not match: ", Describe(group.first), "; ", Describe(player)));
    }
    group.latest = std::max(group.latest, states_[player].clock);
    if (++group.arrived < group.players.size()) return absl::OkStatus();
    group.arrived = 0;
    const double seconds = seconds_(call, *group.members), end = group.latest + seconds;
    for (const int member : group.players) {
      if (member != player) Wake(member, end, seconds);
    }
    Finish(player, end, seconds);
    return absl::OkStatus();
  }

  // The rank of the group that the player is.
  int Place(int player) {
    const std::vector<int>& members = *GroupOf(player).members;
    return static_cast<int>(std::find(members.begin(), members.end(), ranks_[player].rank) - members.begin());
  }

  absl::Status Send(int player) {
    Group& group = GroupOf(player);
    const TracedCall& call = CallOf(player);
    const Way key(Place(player), call.peer, call.tag);
    const auto receiver = group.receiving.find(key);
    const size_t position = states_[player].position;
    const double sent = states_[player].clock;
    if (call.kind == CallKind::kPost) Finish(player, sent, 0);
    if (receiver == group.receiving.end()) {
      group.sent[key].push_back({player, position, sent});
      if (call.kind == CallKind::kPost) ++states_[player].posted[call.group];
      return absl::OkStatus();
    }
    const int to = receiver->second;
    group.receiving.erase(receiver);
    PHOTON_RETURN_IF_ERROR(Compare(player, position, to));
    const double seconds = seconds_(call, {ranks_[player].rank, ranks_[to].rank});
    const double end = std::max(sent, states_[to].clock) + seconds;
    Wake(to, end, seconds);
    if (call.kind == CallKind::kSend) Finish(player, end, seconds);
    return absl::OkStatus();
  }

  absl::Status Receive(int player) {
    Group& group = GroupOf(player);
    const TracedCall& call = CallOf(player);
    const Way key(call.peer, Place(player), call.tag);
    auto& sent = group.sent[key];
    if (sent.empty()) {
      group.receiving[key] = player;
      return absl::OkStatus();
    }
    const auto [from, position, when] = sent.front();
    sent.pop_front();
    PHOTON_RETURN_IF_ERROR(Compare(from, position, player));
    const TracedCall& message = ranks_[from].trace->calls[position];
    const double seconds = seconds_(message, {ranks_[from].rank, ranks_[player].rank});
    // A posted message moves while its receiver computes.
    const double end = message.kind == CallKind::kPost ? std::max(when + seconds, states_[player].clock)
                                                       : std::max(when, states_[player].clock) + seconds;
    const double moving = end - std::max(when, states_[player].clock);
    Finish(player, end, std::max(moving, 0.0));
    if (message.kind == CallKind::kSend) {
      Wake(from, end, seconds);
    } else if (--states_[from].posted[message.group] == 0) {
      State& sender = states_[from];
      const bool waits = sender.waits && CallOf(from).kind == CallKind::kFinishPosts;
      if (waits && CallOf(from).group == message.group) Wake(from, std::max(sender.clock, end), 0);
    }
    return absl::OkStatus();
  }

  // Purposes may be named differently by the two; what is moved may not differ.
  absl::Status Compare(int from, size_t position, int to) {
    if (ranks_[from].trace->calls[position].bytes == CallOf(to).bytes) return absl::OkStatus();
    return absl::InternalError(
        absl::StrCat("a message differs from what is received: ", Describe(from, position), "; ", Describe(to)));
  }

  absl::Status AllDone() {
    std::vector<std::string> stuck;
    for (size_t i = 0; i < states_.size(); ++i) {
      if (states_[i].waits) stuck.push_back(Describe(static_cast<int>(i)));
    }
    if (!stuck.empty()) {
      std::string text = absl::StrCat(stuck.size(), " rank(s) would wait for ever");
      for (size_t i = 0; i < std::min(stuck.size(), kNamed); ++i) absl::StrAppend(&text, "; ", stuck[i]);
      return absl::InternalError(text);
    }
    for (const auto& [key, group] : groups_) {
      for (const auto& [way, sent] : group.sent) {
        if (sent.empty()) continue;
        return absl::InternalError(
            absl::StrCat("a message that nobody receives: ", Describe(sent.front().player, sent.front().position)));
      }
    }
    return absl::OkStatus();
  }

  const std::vector<Played>& ranks_;
  const Descriptions& descriptions_;
  const CallTime& seconds_;
  std::vector<State> states_;
  std::map<std::pair<const std::vector<int>*, int>, Group> groups_;
  std::deque<int> ready_;
};

}  // namespace

absl::StatusOr<std::vector<RankTime>> Replay(const std::vector<Played>& ranks, const Descriptions& descriptions,
                                             const CallTime& seconds) {
  return Player(ranks, descriptions, seconds).Run();
}

}  // namespace photon::dry
