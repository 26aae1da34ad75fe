#include "core/allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "core/random.h"

namespace photon {
namespace {

constexpr size_t kMegabyte = 1 << 20;

// Host slabs, counted.
struct Source {
  int taken = 0, given_back = 0;
  size_t bytes = 0;
  Arena::SlabSource slabs() {
    const Arena::SlabSource host = Arena::HostSlabs();
    return {.take = [this, host](size_t n) { return ++taken, bytes += n, host.take(n); },
            .give_back = [this, host](void* data, size_t n) { ++given_back, bytes -= n, host.give_back(data, n); }};
  }
};

TEST(Arena, HandsOutAlignedMemoryThatDoesNotOverlap) {
  Arena arena;
  std::vector<std::shared_ptr<Storage>> blocks;
  for (size_t i = 0; i < 200; ++i) {
    blocks.push_back(arena.Allocate(i * 37 % 3000));
    ASSERT_NE(blocks.back()->data(), nullptr) << "of no bytes too";
    EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back()->data()) % 64, 0u);
    EXPECT_EQ(blocks.back()->bytes(), i * 37 % 3000);
    memset(blocks.back()->data(), static_cast<int>(i), blocks.back()->bytes());
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto* bytes = static_cast<const unsigned char*>(blocks[i]->data());
    for (size_t j = 0; j < blocks[i]->bytes(); ++j) ASSERT_EQ(bytes[j], i % 256);
  }
  EXPECT_EQ(arena.grown(), 1);
}

TEST(Arena, ReusesWhatComesBack) {
  Arena arena;
  std::shared_ptr<Storage> a = arena.Allocate(1000);
  const void* place = a->data();
  const std::shared_ptr<Storage> fence = arena.Allocate(1000);
  a.reset();
  EXPECT_EQ(arena.Allocate(1000)->data(), place);
  const std::shared_ptr<Storage> smaller = arena.Allocate(500);
  EXPECT_EQ(smaller->data(), place) << "split: the best fit, not the big rest";
  EXPECT_NE(arena.Allocate(1000)->data(), place) << "what is left of it is too small";
}

TEST(Arena, MergesNeighboursWhateverTheOrder) {
  const int orders[][3] = {{0, 1, 2}, {2, 1, 0}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}};
  for (const auto& order : orders) {
    Arena arena;
    // All of the slab but nothing: three thirds, so that only the merged whole fits again.
    const std::shared_ptr<Storage> first = arena.Allocate(1);
    const size_t third = (arena.reserved() - 4096) / 3;
    std::shared_ptr<Storage> parts[3] = {arena.Allocate(third), arena.Allocate(third), arena.Allocate(third)};
    EXPECT_EQ(arena.grown(), 1);
    for (const int i : order) parts[i].reset();
    const std::shared_ptr<Storage> whole = arena.Allocate(3 * third);
    EXPECT_EQ(arena.grown(), 1) << "freed as " << order[0] << order[1] << order[2];
  }
}

TEST(Arena, NeverMergesAcrossSlabs) {
  // A source whose slabs touch: merging them would hand out a block that is two.
  std::vector<char> memory(200 * kMegabyte);
  for (const bool forward : {true, false}) {
    size_t used = 0;
    const auto take = [&](size_t n) -> void* {
      return used + n > memory.size() ? nullptr : memory.data() + (used += n) - n;
    };
    Arena arena({.take = take, .give_back = [](void*, size_t) {}});
    std::shared_ptr<Storage> a = arena.Allocate(32 * kMegabyte), b = arena.Allocate(32 * kMegabyte);
    ASSERT_EQ(arena.grown(), 2);
    (forward ? a : b).reset();
    (forward ? b : a).reset();
    const std::shared_ptr<Storage> both = arena.Allocate(64 * kMegabyte);
    EXPECT_EQ(arena.grown(), 3);
  }
}

TEST(ZonedAllocator, ZonesKeepWhatRecordedOperationsMayStillWorkOn) {
  size_t left = 100 * kMegabyte;
  Source source;
  Arena::SlabSource limited = source.slabs();
  limited.take = [&left, take = limited.take](size_t n) { return n > left ? nullptr : (left -= n, take(n)); };
  limited.give_back = [&left, give_back = limited.give_back](void* data, size_t n) { left += n, give_back(data, n); };
  ZonedAllocator allocator(limited);
  {
    const std::unique_ptr<Arena> zone = allocator.NewZone();
    zone->Allocate(60 * kMegabyte).reset();
    EXPECT_THROW(zone->Allocate(80 * kMegabyte), OutOfMemory);
    EXPECT_EQ(source.given_back, 0);
  }
  allocator.Allocate(60 * kMegabyte).reset();
  EXPECT_NO_THROW(allocator.Allocate(80 * kMegabyte)) << "others give back";
  EXPECT_NO_THROW(allocator.NewZone()->Allocate(80 * kMegabyte)) << "also to zones";
}

TEST(Arena, CountsWhatIsInUse) {
  Arena arena;
  EXPECT_EQ(arena.in_use(), 0u);
  EXPECT_EQ(arena.reserved(), 0u);
  std::shared_ptr<Storage> a = arena.Allocate(1000);
  const size_t one = arena.in_use();
  EXPECT_GE(one, 1000u);
  EXPECT_LT(one, 1000u + 256);
  std::shared_ptr<Storage> b = arena.Allocate(1000);
  EXPECT_EQ(arena.in_use(), 2 * one);
  a.reset();
  EXPECT_EQ(arena.in_use(), one);
  EXPECT_EQ(arena.peak(), 2 * one);
  arena.ResetPeak();
  EXPECT_EQ(arena.peak(), one);
  b.reset();
  EXPECT_EQ(arena.in_use(), 0u);
  EXPECT_EQ(arena.peak(), one);
  EXPECT_GE(arena.reserved(), 2 * one) << "what comes back stays";
}

// A training step asks for the same sizes in the same order: from the second on, nothing more is taken from the system.
TEST(Arena, IsSteadyAfterTheFirstStep) {
  Source source;
  Arena arena(source.slabs());
  const Philox philox(1, 2);
  const auto step = [&] {
    std::vector<std::shared_ptr<Storage>> alive(40);
    for (int i = 0; i < 400; ++i) {
      const auto bits = philox.Block(i);
      alive[bits[0] % alive.size()] = bits[1] % 4 == 0 ? nullptr : arena.Allocate(bits[2] % (4 * kMegabyte));
    }
  };
  step();
  const int64_t grown = arena.grown();
  const size_t peak = arena.peak();
  EXPECT_GT(grown, 1);
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(arena.grown(), grown);
  EXPECT_EQ(arena.peak(), peak);
  EXPECT_EQ(arena.in_use(), 0u);
  EXPECT_EQ(source.taken, grown);
  EXPECT_EQ(source.bytes, arena.reserved());
}

// As caches do: a larger block, a copy, and the smaller one is free, too small for whatever comes.
TEST(Arena, BlocksThatGrowDoNotLeaveAllTheirSizesBehind) {
  Source source;
  Arena arena(source.slabs());
  std::vector<std::shared_ptr<Storage>> caches(8);
  for (size_t size = 1; size <= 60; ++size) {
    for (std::shared_ptr<Storage>& cache : caches) cache = arena.Allocate(size * kMegabyte);
    EXPECT_LE(arena.reserved(), arena.peak() * 3 / 2 + 2 * 32 * kMegabyte) << size;
  }
  EXPECT_EQ(source.bytes, arena.reserved());
}

TEST(Arena, StoragesMayOutliveIt) {
  Source source;
  std::shared_ptr<Storage> survivor;
  {
    Arena arena(source.slabs());
    survivor = arena.Allocate(1000);
    const std::shared_ptr<Storage> other = arena.Allocate(100 * kMegabyte);
  }
  EXPECT_EQ(source.given_back, 0);
  memset(survivor->data(), 1, 1000);
  survivor.reset();
  EXPECT_EQ(source.given_back, 2);
  EXPECT_EQ(source.bytes, 0u);
}

TEST(Arena, ServesThreads) {
  Arena arena;
  std::vector<std::thread> threads;
  std::vector<int> damaged(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const Philox philox(t, 0);
      std::vector<std::shared_ptr<Storage>> alive(16);
      for (int i = 0; i < 5000; ++i) {
        const auto bits = philox.Block(i);
        std::shared_ptr<Storage>& slot = alive[bits[0] % alive.size()];
        if (slot != nullptr) {  // nobody else wrote to it
          const auto* bytes = static_cast<const unsigned char*>(slot->data());
          damaged[t] += bytes[0] != t || bytes[slot->bytes() - 1] != t;
        }
        slot = arena.Allocate(1 + bits[1] % 5000);
        memset(slot->data(), t, slot->bytes());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(damaged, std::vector<int>(4));
  EXPECT_EQ(arena.in_use(), 0u);
}

TEST(Arena, OutOfMemorySaysHowMuchAndHarmsNothing) {
  const size_t limit = 40 * kMegabyte;
  Source source;
  Arena::SlabSource slabs = source.slabs();
  slabs.take = [take = slabs.take](size_t n) { return n > limit ? nullptr : take(n); };
  Arena arena(slabs);
  const std::shared_ptr<Storage> kept = arena.Allocate(1000);
  const size_t in_use = arena.in_use();
  try {
    arena.Allocate(100 * kMegabyte);
    FAIL() << "no such memory";
  } catch (const std::bad_alloc& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("out of memory: 104857600 bytes wanted"));
  }
  EXPECT_EQ(arena.in_use(), in_use);
  EXPECT_NE(arena.Allocate(kMegabyte), nullptr);
}

}  // namespace
}  // namespace photon
