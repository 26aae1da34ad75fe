#include "tests/parallel/collective_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/allocator.h"

namespace photon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Sizes around the borders: nothing, fewer elements than ranks, not divisible, several pieces of a large reduction.
constexpr int64_t kSizes[] = {0, 1, 2, 3, 7, 1023, 1025, 300007};

template <typename F>
void ForEveryDType(F&& f) {
  f(double{});
  f(float{});
  f(BFloat16{});
  f(int64_t{});
  f(int32_t{});
  f(uint16_t{});
  f(uint8_t{});
}

// What rank `rank` holds at element i: of either sign and of differing magnitude, so that the order of a sum shows.
template <typename T>
T Value(int rank, int64_t i) {
  const uint64_t mixed = (static_cast<uint64_t>(i) * 2654435761u + rank * 40503u + 12345u) * 0x9e3779b97f4a7c15u;
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(mixed >> 20);
  } else {
    const double unit = static_cast<double>(mixed >> 11) * 0x1p-53 - 0.5;
    return T(static_cast<AccumulateType<T>>(std::ldexp(unit, static_cast<int>(mixed % 9))));
  }
}

template <typename T>
std::vector<T> Values(int rank, int64_t count, int64_t first = 0) {
  std::vector<T> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = Value<T>(rank, first + i);
  return values;
}

template <typename T>
T ReduceInRankOrder(Reduction op, int ranks, int64_t i) {
  if constexpr (std::is_integral_v<T>) {
    uint64_t sum = 0;
    T extreme = Value<T>(0, i);
    for (int r = 0; r < ranks; ++r) {
      sum += static_cast<uint64_t>(Value<T>(r, i));
      extreme = op == Reduction::kMin ? std::min(extreme, Value<T>(r, i)) : std::max(extreme, Value<T>(r, i));
    }
    return op == Reduction::kSum ? static_cast<T>(sum) : extreme;
  } else {
    auto total = static_cast<AccumulateType<T>>(Value<T>(0, i));
    for (int r = 1; r < ranks; ++r) {
      const auto next = static_cast<AccumulateType<T>>(Value<T>(r, i));
      total = op == Reduction::kSum   ? total + next
              : op == Reduction::kMin ? std::min(total, next)
                                      : std::max(total, next);
    }
    return T(total);
  }
}

// A tensor over a vector; an empty one still has an address.
template <typename T>
Tensor Over(std::vector<T>& values) {
  values.reserve(1);
  return Tensor::Wrap(values.data(), {static_cast<int64_t>(values.size())}, DTypeOf<T>());
}

template <typename T>
void ExpectSameBits(const std::vector<T>& got, const std::vector<T>& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::memcmp(&got[i], &want[i], sizeof(T)) == 0) continue;
    ADD_FAILURE() << what << " " << Name(DTypeOf<T>()) << ": element " << i << " of " << got.size() << " differs";
    return;
  }
}

}  // namespace

void CheckAllReduce(Communicator& comm) {
  ForEveryDType([&](auto tag) {
    using T = decltype(tag);
    for (int64_t size : kSizes) {
      for (Reduction op : {Reduction::kSum, Reduction::kMax, Reduction::kMin}) {
        std::vector<T> values = Values<T>(comm.rank(), size);
        EXPECT_EQ(comm.AllReduce("values", Over(values), op), absl::OkStatus());
        std::vector<T> want(size);
        for (int64_t i = 0; i < size; ++i) want[i] = ReduceInRankOrder<T>(op, comm.size(), i);
        ExpectSameBits(values, want, "all-reduce");
      }
    }
  });
}

void CheckAllReduceNan(Communicator& comm) {
  for (Reduction op : {Reduction::kSum, Reduction::kMax, Reduction::kMin}) {
    for (int bad = 0; bad < comm.size(); ++bad) {
      std::vector<float> values = {1.0f, comm.rank() == bad ? std::numeric_limits<float>::quiet_NaN() : 2.0f};
      EXPECT_EQ(comm.AllReduce("with a NaN", Over(values), op), absl::OkStatus());
      EXPECT_FALSE(std::isnan(values[0]));
      EXPECT_TRUE(std::isnan(values[1])) << "NaN of rank " << bad << " was lost";
    }
  }
}

void CheckGatherAndScatter(Communicator& comm) {
  const int n = comm.size();
  ForEveryDType([&](auto tag) {
    using T = decltype(tag);
    for (int64_t size : kSizes) {
      std::vector<T> part = Values<T>(comm.rank(), size), whole(n * size), want;
      for (int r = 0; r < n; ++r) {
        const std::vector<T> other = Values<T>(r, size);
        want.insert(want.end(), other.begin(), other.end());
      }
      EXPECT_EQ(comm.AllGather("parts", Over(part), Over(whole)), absl::OkStatus());
      ExpectSameBits(whole, want, "all-gather");
      if (size > 0) {
        std::vector<T> in_place(n * size);
        std::copy(part.begin(), part.end(), in_place.begin() + comm.rank() * size);
        const Tensor tensor = Over(in_place);
        EXPECT_EQ(comm.AllGather("parts", tensor.Rows(comm.rank() * size, (comm.rank() + 1) * size), tensor),
                  absl::OkStatus());
        ExpectSameBits(in_place, want, "all-gather in place");
      }

      std::vector<T> wide = Values<T>(comm.rank(), n * size), sum(size), want_sum(size);
      for (int64_t i = 0; i < size; ++i) {
        want_sum[i] = ReduceInRankOrder<T>(Reduction::kSum, n, comm.rank() * size + i);
      }
      EXPECT_EQ(comm.ReduceScatter("gradients", Over(wide), Over(sum)), absl::OkStatus());
      ExpectSameBits(sum, want_sum, "reduce-scatter");
      ExpectSameBits(wide, Values<T>(comm.rank(), n * size), "reduce-scatter's input");
      if (size > 0) {
        const Tensor own = Over(wide).Rows(comm.rank() * size, (comm.rank() + 1) * size);
        EXPECT_EQ(comm.ReduceScatter("gradients", Over(wide), own), absl::OkStatus());
        const auto begin = wide.begin() + comm.rank() * size;
        ExpectSameBits(std::vector<T>(begin, begin + size), want_sum, "reduce-scatter in place");
      }
    }
  });
}

void CheckBroadcast(Communicator& comm) {
  ForEveryDType([&](auto tag) {
    using T = decltype(tag);
    for (int64_t size : kSizes) {
      for (int root = 0; root < comm.size(); ++root) {
        std::vector<T> values = Values<T>(comm.rank(), size);
        EXPECT_EQ(comm.Broadcast("weights", Over(values), root), absl::OkStatus());
        ExpectSameBits(values, Values<T>(root, size), "broadcast");
      }
    }
  });
}

void CheckSendReceive(Communicator& comm) {
  const int next = (comm.rank() + 1) % comm.size();
  const int before = (comm.rank() + comm.size() - 1) % comm.size();
  ForEveryDType([&](auto tag) {
    using T = decltype(tag);
    for (int64_t size : kSizes) {
      std::vector<T> sent = Values<T>(comm.rank(), size), got(size);
      const auto send = [&] { EXPECT_EQ(comm.Send("activations", Over(sent), next, 5), absl::OkStatus()); };
      const auto receive = [&] { EXPECT_EQ(comm.Receive("activations", Over(got), before, 5), absl::OkStatus()); };
      // Rank 0 breaks the ring: large messages may wait for their receiver.
      if (comm.rank() == 0) send();
      receive();
      if (comm.rank() != 0) send();
      ExpectSameBits(got, Values<T>(before, size), "send and receive");
    }
  });
  // Small messages with different tags, taken in the other order; equal tags keep theirs.
  std::vector<int32_t> message[3] = {{10}, {20}, {21}}, got[3] = {{0}, {0}, {0}};
  const int tags[3] = {1, 2, 2};
  for (int i : {0, 1, 2}) EXPECT_EQ(comm.Send("tagged", Over(message[i]), next, tags[i]), absl::OkStatus());
  for (int i : {1, 2, 0}) EXPECT_EQ(comm.Receive("tagged", Over(got[i]), before, tags[i]), absl::OkStatus());
  for (int i : {0, 1, 2}) EXPECT_EQ(got[i], message[i]);
}

void CheckPosts(Communicator& comm) {
  const int next = (comm.rank() + 1) % comm.size(), before = (comm.rank() + comm.size() - 1) % comm.size();
  // Nobody receives before everybody has posted everything: a Post that waited for its receiver would hang.
  Arena arena;
  ForEveryDType([&](auto tag) {
    using T = decltype(tag);
    const auto post = [&](int64_t size, int peer) {
      const std::vector<T> values = Values<T>(comm.rank(), size);
      const Tensor tensor(arena, {}, {size}, DTypeOf<T>());
      std::memcpy(tensor.raw(), values.data(), size * sizeof(T));
      EXPECT_EQ(comm.Post("activations", tensor, peer, 3), absl::OkStatus());
    };  // and nobody here holds the tensor any longer
    for (int64_t size : kSizes) post(size, next);
    for (int64_t size : kSizes) post(size, before);
    EXPECT_EQ(comm.Barrier("all have posted"), absl::OkStatus());
    for (int peer : {before, next}) {
      for (int64_t size : kSizes) {
        std::vector<T> got(size);
        EXPECT_EQ(comm.Receive("activations", Over(got), peer, 3), absl::OkStatus());
        ExpectSameBits(got, Values<T>(peer, size), "post and receive");
      }
    }
    EXPECT_EQ(comm.FinishPosts(), absl::OkStatus());
  });
  EXPECT_EQ(arena.in_use(), 0u);  // what has gone is let go
  // After FinishPosts the sender may write again.
  std::vector<double> message = Values<double>(comm.rank(), 300007), got(300007);
  EXPECT_EQ(comm.Post("activations", Over(message), next, 4), absl::OkStatus());
  EXPECT_EQ(comm.Receive("activations", Over(got), before, 4), absl::OkStatus());
  EXPECT_EQ(comm.FinishPosts(), absl::OkStatus());
  std::fill(message.begin(), message.end(), 0.0);
  EXPECT_EQ(comm.Barrier("all have written"), absl::OkStatus());
  ExpectSameBits(got, Values<double>(before, 300007), "post and receive");
  EXPECT_EQ(comm.FinishPosts(), absl::OkStatus());  // of nothing
}

void CheckBytesSent(Communicator& comm) {
  const int n = comm.size(), rank = comm.rank();
  std::vector<float> whole(5 * n), part(5), reduced(7);
  const auto sends = [&](int64_t bytes, const auto& call) {
    const int64_t before = comm.bytes_sent();
    call();
    EXPECT_EQ(comm.bytes_sent() - before, bytes);
  };
  sends(20 * (n - 1), [&] { (void)comm.AllGather("parts", Over(part), Over(whole)); });
  sends(20 * (n - 1), [&] { (void)comm.ReduceScatter("parts", Over(whole), Over(part)); });
  sends(rank == 0 ? 28 * (n - 1) : 0, [&] { (void)comm.Broadcast("weights", Over(reduced), 0); });
  // Of 7 elements each rank reduces its share, for which it sends the rest away, and then hands it to all.
  const int own = 7 * (rank + 1) / n - 7 * rank / n;
  sends(4 * (7 - own + own * (n - 1)), [&] { (void)comm.AllReduce("gradients", Over(reduced), Reduction::kSum); });
  sends(0, [&] { (void)comm.Barrier("step"); });
  sends(0, [&] { (void)comm.AllReduce("nothing", Tensor(), Reduction::kSum); });
  if (n == 1) return;
  const int next = (rank + 1) % n, before = (rank + n - 1) % n;
  sends(20, [&] { (void)comm.Send("activations", Over(part), next, 0); });
  sends(28, [&] { (void)comm.Post("activations", Over(reduced), next, 1); });
  sends(0, [&] {
    (void)comm.Receive("activations", Over(part), before, 0);
    (void)comm.Receive("activations", Over(reduced), before, 1);
    (void)comm.FinishPosts();
  });
  sends(0, [&] { (void)comm.Post("activations", Over(part), rank, 0); });  // refused
}

void CheckMessageOfWrongSize(Communicator& comm) {
  for (int64_t wanted : {3, 5}) {
    std::vector<float> values(comm.rank() == 0 ? 4 : wanted);
    if (comm.rank() == 0) {
      EXPECT_EQ(comm.Send("activations", Over(values), 1, 0), absl::OkStatus());
    } else if (comm.rank() == 1) {
      const absl::Status status = comm.Receive("activations", Over(values), 0, 0);
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
      EXPECT_THAT(status.message(), AllOf(HasSubstr("rank 1 of"), HasSubstr("receive from 0 tag 0 activations f32")));
    }
  }
  EXPECT_EQ(comm.Barrier("after the mismatch"), absl::OkStatus());
}

void CheckArguments(Communicator& comm) {
  const int n = comm.size();
  std::vector<float> buffer(4 * n + 4);
  const Tensor all = Over(buffer), whole = all.Rows(0, 4 * n);
  const Tensor matrix = whole.Reshape({2 * n, 2});
  const auto expect = [&](const absl::Status& status, const std::string& text) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_THAT(status.message(), HasSubstr(text));
  };
  expect(comm.AllReduce("columns", matrix.Columns(0, 1), Reduction::kSum), "not contiguous");
  expect(comm.AllReduce("nothing", Tensor(), Reduction::kSum), "empty");
  expect(comm.AllGather("parts", all.Rows(0, 3), whole), "do not make the whole");
  std::vector<double> other_type(4);
  expect(comm.AllGather("parts", Over(other_type), whole), "parts of f64[4] do not make the whole f32");
  expect(comm.ReduceScatter("parts", whole, all.Rows(4 * comm.rank() + 1, 4 * comm.rank() + 5)), "overlap");
  expect(comm.Broadcast("weights", whole, n), "root");
  expect(comm.Send("activations", whole, n, 0), "not another rank");
  expect(comm.Send("activations", whole, comm.rank(), 0), "not another rank");
  expect(comm.Receive("activations", whole, -1, 0), "not another rank");
  if (n > 1) expect(comm.Send("activations", whole, (comm.rank() + 1) % n, Communicator::kTags), "tag 32767");
  expect(comm.Post("activations", whole, n, 0), "not another rank");
  if (n > 1) expect(comm.Post("activations", matrix.Columns(0, 1), (comm.rank() + 1) % n, 0), "not contiguous");
  const Tensor elsewhere = Tensor::Wrap(buffer.data(), {4}, DType::kF32, {DeviceType::kCuda, 0});
  expect(comm.AllReduce("elsewhere", elsewhere, Reduction::kSum), "cannot reach");
  EXPECT_THAT(comm.RecentCalls(), HasSubstr("all-reduce elsewhere f32[4] failed"));
}

void CheckSplit(Communicator& comm) {
  const int color = comm.rank() % 2;
  absl::StatusOr<std::unique_ptr<Communicator>> half = comm.Split(color, -comm.rank());
  ASSERT_EQ(half.status(), absl::OkStatus());
  std::vector<int> members;
  for (int r = comm.size() - 1; r >= 0; --r) {
    if (r % 2 == color) members.push_back(r);
  }
  ASSERT_EQ((*half)->size(), static_cast<int>(members.size()));
  EXPECT_EQ(members[(*half)->rank()], comm.rank());
  std::vector<int32_t> part = {comm.rank()}, whole((*half)->size());
  EXPECT_EQ((*half)->AllGather("members", Over(part), Over(whole)), absl::OkStatus());
  EXPECT_EQ(whole, std::vector<int32_t>(members.begin(), members.end()));
  EXPECT_THAT((*half)->RecentCalls(), HasSubstr("#1 all-gather members"));
  EXPECT_EQ(comm.Barrier("the parent still works"), absl::OkStatus());
}

void CheckSmallValues(Communicator& comm) {
  EXPECT_EQ(*AllReduceScalar(comm, "rank", comm.rank(), Reduction::kMax), comm.size() - 1);
  EXPECT_EQ(*AllReduceScalar(comm, "rank", comm.rank() + 0.5, Reduction::kMin), 0.5);
  for (int root = 0; root < comm.size(); ++root) {
    for (const std::string& text : {std::string(), std::string("a\0b", 3), std::string(70000, 'x')}) {
      EXPECT_EQ(*BroadcastString(comm, "config", comm.rank() == root ? text : "something else", root), text);
    }
  }
  EXPECT_EQ(AgreeOn(comm, "all well", absl::OkStatus()), absl::OkStatus());
  const int last = comm.size() - 1;
  const bool fails = comm.rank() >= last - 1 && comm.rank() > 0;  // the last two; the lower one is heard
  const absl::Status agreed =
      AgreeOn(comm, "open", fails ? absl::NotFoundError("no file " + std::to_string(comm.rank())) : absl::OkStatus());
  if (last == 0) {
    EXPECT_EQ(agreed, absl::OkStatus());
    return;
  }
  const int heard = std::max(1, last - 1);
  EXPECT_EQ(agreed.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(agreed.message(), HasSubstr("no file " + std::to_string(heard)));
  EXPECT_EQ(agreed.message().find("(on rank") != std::string::npos, comm.rank() != heard);
}

void CheckSideChannel(Communicator& comm) {
  auto part = comm.Split(comm.rank() % 2, -comm.rank());
  ASSERT_EQ(part.status(), absl::OkStatus());
  for (Communicator* group : {&comm, part->get()}) {
    auto opened = group->OpenSideChannel();
    ASSERT_EQ(opened.status(), absl::OkStatus());
    if (*opened == nullptr) {  // nobody to talk to
      ASSERT_EQ(group->size(), 1);
      continue;
    }
    SideChannel& channel = **opened;
    EXPECT_EQ(channel.rank(), group->rank());
    ASSERT_EQ(channel.size(), group->size());
    EXPECT_FALSE(channel.Poll().has_value());
    EXPECT_EQ(group->Barrier("nothing was sent yet"), absl::OkStatus());
    const std::string longest(2 * SideChannel::kBytes, 'x');
    for (int to = 0; to < group->size(); ++to) {
      if (to == group->rank()) continue;
      channel.Send(to, absl::StrCat("from ", group->rank(), " to ", to));
      channel.Send(to, longest);
    }
    // Two from each, in the order they were sent.
    std::vector<std::vector<std::string>> got(group->size());
    int left = 2 * (group->size() - 1);
    for (const absl::Time give_up = absl::Now() + absl::Seconds(20); left > 0 && absl::Now() < give_up;) {
      if (const auto message = channel.Poll()) {
        got[message->from].push_back(message->text);
        --left;
      }
    }
    ASSERT_EQ(left, 0);
    for (int from = 0; from < group->size(); ++from) {
      if (from == group->rank()) continue;
      ASSERT_EQ(got[from].size(), 2u);
      EXPECT_EQ(got[from][0], absl::StrCat("from ", from, " to ", group->rank()));
      EXPECT_LE(got[from][1].size(), size_t{SideChannel::kBytes});
      EXPECT_EQ(got[from][1], longest.substr(0, got[from][1].size()));
      EXPECT_GE(got[from][1].size(), size_t{SideChannel::kBytes} - 1);
    }
    // Messages are no calls, and calls no messages.
    EXPECT_EQ(group->Barrier("all have arrived"), absl::OkStatus());
    EXPECT_FALSE(channel.Poll().has_value());
  }
}

}  // namespace photon::testing
