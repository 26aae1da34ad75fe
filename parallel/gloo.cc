// Ranks that find each other by files in a folder that all can reach, and talk over TCP (the Gloo library): for sites
// whose launcher starts processes but gives MPI no way to connect them, and beside NCCL, which carries the large
// tensors.
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/rendezvous/prefix_store.h>
#include <gloo/transport/tcp/device.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <stdexcept>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "core/status.h"
#include "core/steady_time.h"
#include "parallel/communicator.h"
#include "parallel/gloo_connections.h"
#include "parallel/gloo_side_channel.h"
#include "parallel/reduce.h"

namespace photon {
namespace {

// Gloo leaves Nagle's algorithm on, by which a small message waits 40 ms for the acknowledgement of the one before, and
// gives no access to its sockets: so of all connections of this process.
void SendAtOnce() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    int socket = -1;
    const int on = 1;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &socket)) continue;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // fails, harmlessly, for what is no TCP connection
  }
}

class GlooRank : public Communicator {
 public:
  // `members`: the group's ranks in `connections`. `group`: no other group that shares two ranks has this number.
  GlooRank(std::shared_ptr<GlooConnections> connections, std::vector<int> members, int rank, int64_t group)
      : connections_(std::move(connections)), members_(std::move(members)), rank_(rank), group_(group) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  absl::string_view name() const override { return "tcp"; }

  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    // The next number that is free on all ranks; a group then takes the one after it that its color says.
    int64_t mine[] = {connections_->next_group, color, key};
    std::vector<int64_t> all(3 * size());
    const auto tensor = [](int64_t* data, int64_t n) { return Tensor::Wrap(data, {n}, DType::kI64); };
    PHOTON_RETURN_IF_ERROR(AllGather("split", tensor(mine, 3), tensor(all.data(), 3 * size())));
    int64_t first = 0, last_color = 0;
    std::vector<int> members;  // ranks of this group
    for (int r = 0; r < size(); ++r) {
      first = std::max(first, all[3 * r]);
      last_color = std::max(last_color, all[3 * r + 1]);
      if (all[3 * r + 1] == color) members.push_back(r);
    }
    connections_->next_group = first + last_color + 1;
    std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return all[3 * a + 2] < all[3 * b + 2]; });
    const int rank = static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());
    for (int& member : members) member = members_[member];
    return std::make_unique<GlooRank>(connections_, std::move(members), rank, first + color);
  }

  absl::StatusOr<std::unique_ptr<SideChannel>> OpenSideChannel() override {
    // A group that nobody else uses, on all ranks.
    PHOTON_ASSIGN_OR_RETURN(
        const double group,
        AllReduceScalar(*this, "side channel", static_cast<double>(connections_->next_group), Reduction::kMax));
    connections_->next_group = static_cast<int64_t>(group) + 1;
    const auto slot = static_cast<uint64_t>(group) * (kTags + 1);
    return GlooSideChannel(connections_, members_, rank_, slot);
  }

  void Abort(int exit_code) override {
    std::fflush(nullptr);
    std::_Exit(exit_code);  // the others see the connections break
  }

 protected:
  absl::Status DoAllReduce(const Tensor& tensor, Reduction op) override {
    const int64_t n = tensor.elements();
    const auto begin = [&](int r) { return n * r / size(); };
    const int64_t own = begin(rank_ + 1) - begin(rank_);
    PHOTON_RETURN_IF_ERROR(ReduceOwn(tensor, begin, own, op, At(tensor, begin(rank_))));
    return SwapWithAll(
        tensor,
        [&](int) {
          return Block{begin(rank_), own};
        },
        [&](int r) { return At(tensor, begin(r)); }, [&](int r) { return begin(r + 1) - begin(r); });
  }

  absl::Status DoReduceScatter(const Tensor& whole, const Tensor& part) override {
    return ReduceOwn(
        whole, [&](int r) { return r * part.elements(); }, part.elements(), Reduction::kSum, part.raw());
  }

  absl::Status DoAllGather(const Tensor& part, const Tensor& whole) override {
    char* own = At(whole, rank_ * part.elements());
    if (own != part.raw()) std::memcpy(own, part.raw(), part.bytes());
    const int64_t n = part.elements();
    return SwapWithAll(
        whole,
        [&](int) {
          return Block{rank_ * n, n};
        },
        [&](int r) { return At(whole, r * n); }, [n](int) { return n; });
  }

  absl::Status DoBroadcast(const Tensor& tensor, int root) override {
    return Guarded([&] {
      if (rank_ != root) return Fetch(root, At(tensor, 0), tensor.bytes(), kCollective);
      std::vector<GlooOutgoing> sent;
      for (int r = 0; r < size(); ++r) {
        if (r != root) sent.push_back(Start(r, At(tensor, 0), tensor.bytes(), kCollective));
      }
      return Finish(sent);
    });
  }

  // Does not wait for the receiver, who may want another tag first.
  absl::Status DoSend(const Tensor& tensor, int to, int tag) override {
    return Guarded([&] {
      std::vector<char> copy(At(tensor, 0), At(tensor, tensor.elements()));
      GlooOutgoing message = Start(to, copy.data(), static_cast<int64_t>(copy.size()), tag);
      message.copy = std::move(copy);  // the same memory
      connections_->Keep(std::move(message));
      return absl::OkStatus();
    });
  }

  // As little, and without a copy.
  absl::Status DoPost(const Tensor& tensor, int to, int tag) override {
    return Guarded([&] {
      GlooOutgoing message = Start(to, At(tensor, 0), static_cast<int64_t>(tensor.bytes()), tag);
      message.tensor = tensor;
      message.posts = posts_;
      posts_->Add();
      connections_->Keep(std::move(message));
      return absl::OkStatus();
    });
  }

  absl::Status DoFinishPosts() override { return posts_->Finish(); }

  absl::Status DoReceive(const Tensor& tensor, int from, int tag) override {
    return Guarded([&] { return Fetch(from, At(tensor, 0), tensor.bytes(), tag); });
  }

  absl::Status DoBarrier() override {
    int64_t nothing = 0;
    return DoAllReduce(Tensor::Wrap(&nothing, {1}, DType::kI64), Reduction::kSum);
  }

 private:
  static constexpr int kCollective = kTags;

  struct Block {
    int64_t begin, count;  // elements
  };

  static char* At(const Tensor& tensor, int64_t element) {
    return static_cast<char*>(tensor.raw()) + element * ElementBytes(tensor);
  }
  static int64_t ElementBytes(const Tensor& tensor) { return static_cast<int64_t>(ByteSize(tensor.dtype())); }

  uint64_t Slot(int tag) const { return static_cast<uint64_t>(group_) * (kTags + 1) + tag; }

  // Gloo throws.
  template <typename Body>
  absl::Status Guarded(Body&& body) {
    try {
      return body();
    } catch (const std::exception& error) {
      return absl::UnavailableError(error.what());
    }
  }
  // The same of what passes between this rank and one other, which is named.
  template <typename Body>
  static void With(int peer, Body&& body) {
    try {
      body();
    } catch (const std::exception& error) {
      throw std::runtime_error(absl::StrCat("lost rank ", peer, ": ", error.what()));
    }
  }

  // Sends without waiting; `data` stays where it is until its Wait().
  GlooOutgoing Start(int to, void* data, int64_t bytes, int tag) {
    GlooOutgoing out;
    out.size = std::make_unique<int64_t>(bytes);
    With(to, [&] {
      out.header = connections_->mesh().createUnboundBuffer(out.size.get(), sizeof(int64_t));
      out.header->send(members_[to], Slot(tag));
      if (bytes == 0) return;
      out.payload = connections_->mesh().createUnboundBuffer(data, bytes);
      out.payload->send(members_[to], Slot(tag));
    });
    return out;
  }

  absl::Status Finish(std::vector<GlooOutgoing>& sent) {
    for (GlooOutgoing& out : sent) out.Wait();
    return absl::OkStatus();
  }

  absl::Status Fetch(int from, void* data, int64_t bytes, int tag) {
    int64_t arriving = 0;
    const auto receive = [&](void* to, int64_t size) {
      With(from, [&] {
        const GlooBuffer buffer = connections_->mesh().createUnboundBuffer(to, size);
        buffer->recv(members_[from], Slot(tag));
        buffer->waitRecv();
      });
    };
    receive(&arriving, sizeof(arriving));
    if (arriving == bytes) {
      if (bytes > 0) receive(data, bytes);
      return absl::OkStatus();
    }
    std::vector<char> unwanted(arriving);
    if (arriving > 0) receive(unwanted.data(), arriving);
    return absl::InternalError(absl::StrCat("rank ", from, " sent ", arriving, " bytes, not ", bytes));
  }

  // Sends outgoing(r) of `tensor` to every other rank r, and receives count(r) elements from it at place(r).
  template <typename Blocks, typename Place, typename Count>
  absl::Status SwapWithAll(const Tensor& tensor, Blocks&& outgoing, Place&& place, Count&& count) {
    return Guarded([&] {
      std::vector<GlooOutgoing> sent;
      for (int r = 0; r < size(); ++r) {
        if (r == rank_) continue;
        const Block block = outgoing(r);
        sent.push_back(Start(r, At(tensor, block.begin), block.count * ElementBytes(tensor), kCollective));
      }
      for (int r = 0; r < size(); ++r) {
        if (r != rank_) PHOTON_RETURN_IF_ERROR(Fetch(r, place(r), count(r) * ElementBytes(tensor), kCollective));
      }
      return Finish(sent);
    });
  }

  // Every rank sends elements [begin(r), begin(r + 1)) of `tensor` to rank r, and reduces what it gets, in rank order.
  template <typename Begin>
  absl::Status ReduceOwn(const Tensor& tensor, Begin&& begin, int64_t own, Reduction op, void* out) {
    const int64_t bytes = own * ElementBytes(tensor);
    scratch_.resize(size() * bytes);
    std::vector<const void*> inputs;
    for (int r = 0; r < size(); ++r) {
      inputs.push_back(r == rank_ ? At(tensor, begin(r)) : scratch_.data() + r * bytes);
    }
    PHOTON_RETURN_IF_ERROR(SwapWithAll(
        tensor,
        [&](int r) {
          return Block{begin(r), begin(r + 1) - begin(r)};
        },
        [&](int r) { return scratch_.data() + r * bytes; }, [own](int) { return own; }));
    Reduce(tensor.dtype(), op, inputs, own, out);
    return absl::OkStatus();
  }

  std::shared_ptr<GlooConnections> connections_;
  std::vector<int> members_;
  int rank_;
  int64_t group_;
  std::shared_ptr<GlooPosts> posts_ = std::make_shared<GlooPosts>();
  std::vector<char> scratch_;  // keeps its memory from call to call
};

constexpr double kPatience = 10;  // seconds, until a rank says for whom it waits

class Files : public gloo::rendezvous::FileStore {
 public:
  using FileStore::check;  // whether there are files of all these keys
  using FileStore::FileStore;
};

// Says that this rank is here, and waits for the others. (Gloo would wait 30 s, whatever its timeout, and for ranks
// that it does not name.)
absl::Status Meet(const FileWorldOptions& options, Files* files) {
  const auto key = [&](int rank) { return absl::StrCat(options.job, "/here-", rank); };
  const auto where = absl::StrCat("the folder ", options.folder, ", under the job's name \"", options.job, "\"");
  if (files->check({key(options.rank)})) {
    return absl::InvalidArgumentError(absl::StrCat("rank ", options.rank, " has been in ", where,
                                                   ", before: each start wants another name (PHOTON_JOB)"));
  }
  const std::string who = absl::StrCat("rank ", options.rank, " of ", options.size);
  files->set(key(options.rank), {'1'});
  std::vector<int> missing(options.size);
  std::iota(missing.begin(), missing.end(), 0);
  const absl::Time start = SteadyNow();
  for (bool told = false;;) {
    missing.erase(std::remove_if(missing.begin(), missing.end(), [&](int r) { return files->check({key(r)}); }),
                  missing.end());
    if (missing.empty()) return absl::OkStatus();
    const double seconds = absl::ToDoubleSeconds(SteadyNow() - start);
    if (seconds > options.timeout_s) {
      return absl::UnavailableError(absl::StrCat(who, " did not meet rank(s) ", absl::StrJoin(missing, ", "), " in ",
                                                 where, ": all have to reach it, with the same name"));
    }
    if (!told && seconds > kPatience) {
      std::cerr << absl::StrCat(who, " waits for rank(s) ", absl::StrJoin(missing, ", "), " in ", where, "\n");
      told = true;
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> FileWorld(const FileWorldOptions& options) {
  if (options.size < 1 || options.rank < 0 || options.rank >= options.size) {
    return absl::InvalidArgumentError(absl::StrCat("rank ", options.rank, " of ", options.size, " ranks"));
  }
  try {
    std::filesystem::create_directories(options.folder);
    gloo::transport::tcp::attr address;
    if (!options.network_interface.empty()) address.iface = options.network_interface;
    Files files(options.folder);
    gloo::rendezvous::PrefixStore store(options.job, files);
    const std::chrono::milliseconds timeout(static_cast<int64_t>(options.timeout_s * 1000));
    PHOTON_RETURN_IF_ERROR(Meet(options, &files));
    auto mesh = std::make_shared<gloo::rendezvous::Context>(options.rank, options.size);
    mesh->setTimeout(timeout);
    auto device = gloo::transport::tcp::CreateDevice(address);
    mesh->connectFullMesh(store, device);
    SendAtOnce();
    std::vector<int> members(options.size);
    std::iota(members.begin(), members.end(), 0);
    return std::make_unique<GlooRank>(std::make_shared<GlooConnections>(std::move(mesh)), std::move(members),
                                      options.rank,
                                      /*group=*/0);
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("rank ", options.rank, " of ", options.size,
                                               " could not connect to the others of the folder ", options.folder,
                                               ", under the job's name \"", options.job, "\": ", error.what()));
  }
}

}  // namespace photon
