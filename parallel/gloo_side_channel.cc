#include "parallel/gloo_side_channel.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

namespace photon {
namespace {

// Gloo can wait for a message, but not look for one, and a wait that ends by a timeout ends the connections: so a
// thread waits, for ever.
class GlooChannel : public SideChannel {
 public:
  GlooChannel(std::shared_ptr<GlooConnections> connections, std::vector<int> members, int rank, uint64_t slot)
      : connections_(std::move(connections)), members_(std::move(members)), rank_(rank), slot_(slot) {
    for (const int member : members_) {
      if (member != members_[rank_]) others_.push_back(member);
    }
    buffer_ = connections_->mesh().createUnboundBuffer(arriving_.data(), kBytes);
    if (!others_.empty()) thread_ = std::thread([this] { Receive(); });
  }
  ~GlooChannel() override {
    if (!thread_.joinable()) return;
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
    }
    buffer_->abortWaitRecv();
    thread_.join();
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }

  void Send(int to, absl::string_view text) override {
    GlooOutgoing out;
    out.copy.assign(text.begin(), text.begin() + std::min<size_t>(text.size(), kBytes));
    out.copy.resize(kBytes);
    try {
      out.header = connections_->mesh().createUnboundBuffer(out.copy.data(), kBytes);
      out.header->send(members_[to], slot_);
      connections_->Keep(std::move(out));
    } catch (const std::exception&) {  // that rank is gone: it will not answer
    }
  }

  std::optional<Message> Poll() override {
    absl::MutexLock lock(&mutex_);
    if (arrived_.empty()) return std::nullopt;
    Message message = std::move(arrived_.front());
    arrived_.pop_front();
    return message;
  }

 private:
  void Receive() {
    constexpr std::chrono::milliseconds kForEver = std::chrono::hours(24 * 365);
    try {
      while (true) {
        {
          absl::MutexLock lock(&mutex_);
          if (stop_) return;
        }
        buffer_->recv(others_, slot_);
        int from = -1;
        if (!buffer_->waitRecv(&from, kForEver)) return;
        const auto place = std::find(members_.begin(), members_.end(), from) - members_.begin();
        absl::MutexLock lock(&mutex_);
        arrived_.push_back({static_cast<int>(place), std::string(arriving_.data(), strnlen(arriving_.data(), kBytes))});
      }
    } catch (const std::exception&) {  // a connection broke, as the next collective will tell
    }
  }

  const std::shared_ptr<GlooConnections> connections_;
  const std::vector<int> members_;
  const int rank_;
  const uint64_t slot_;
  std::vector<int> others_;  // in `connections_`
  std::array<char, kBytes> arriving_ = {};
  GlooBuffer buffer_;
  absl::Mutex mutex_;
  std::deque<Message> arrived_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<SideChannel> GlooSideChannel(std::shared_ptr<GlooConnections> connections, std::vector<int> members,
                                             int rank, uint64_t slot) {
  return std::make_unique<GlooChannel>(std::move(connections), std::move(members), rank, slot);
}

}  // namespace photon
