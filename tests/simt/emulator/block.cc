#include "tests/simt/emulator/block.h"

#include <array>
#include <bit>
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/simt/emulator/asynchronous_copies.h"
#include "tests/simt/emulator/barriers.h"
#include "tests/simt/emulator/failure.h"
#include "tests/simt/emulator/ready_set.h"
#include "tests/simt/emulator/shared_memory.h"
#include "tests/simt/emulator/warpgroup_products.h"

namespace photon::simt {
namespace {

namespace context = boost::context;

constexpr size_t kStack = 256 << 10;

// A fiber that runs threads, one to its end after another.
class Worker {
 public:
  Worker()
      : fiber_(std::allocator_arg, context::protected_fixedsize_stack(kStack), [this](context::fiber&& caller) {
          caller_ = std::move(caller);
          while (true) {
            (*body_)();
            body_ = nullptr;
            Suspend();
          }
          return std::move(caller_);
        }) {}
  // Goes on with the thread that it holds, or begins `body`. True where that thread ended.
  bool Resume(const std::function<void()>& body) {
    if (body_ == nullptr) body_ = &body;
    fiber_ = std::move(fiber_).resume();
    return body_ == nullptr;
  }
  void Suspend() { caller_ = std::move(caller_).resume(); }

 private:
  const std::function<void()>* body_ = nullptr;
  context::fiber caller_, fiber_;
};

std::string Text(const std::source_location& where) { return absl::StrCat(where.file_name(), ":", where.line()); }

// What a thread waits for.
struct Wait {
  const char* operation = nullptr;
  std::source_location where;
  unsigned mask = 0;
};

struct Thread {
  uint3 index = {};
  Worker* worker = nullptr;  // from its first step to its end
  bool ended = false;
  Wait wait;
};

// Lanes of a warp that wait for each other.
struct Rendezvous {
  unsigned mask = 0, arrived = 0;
  Wait wait;
  Combine* combine = nullptr;
  void* operands[kWarpLanes] = {};
};

struct Warp {
  unsigned alive = 0;  // lanes whose threads have not ended
  std::vector<Rendezvous> open;
};

class Block {
 public:
  Block(const Grid& grid, const std::function<void()>& body, ThreadOrder order);
  void Run(uint3 index);

  const Grid& grid() const { return grid_; }
  int current() const { return current_; }
  Barrier AtBarrier(bool predicate, const std::source_location& where);
  void AtRendezvous(unsigned mask, const char* operation, void* operand, Combine* combine,
                    const std::source_location& where);
  void WaitHere(Wait wait);
  void MakeReady(int i) { ready_.Add(i); }

 private:
  void Step(int i);
  void Ended(int i);
  bool Complete(int warp, Rendezvous& rendezvous);
  [[noreturn]] void FailStuck();

  const Grid& grid_;
  const std::function<void()>& body_;
  std::vector<Thread> threads_;
  ReadySet ready_;
  int current_ = 0;
  int ended_ = 0;
  int at_barrier_ = 0, predicates_ = 0;
  Barrier last_barrier_;
  Wait barrier_;
  std::vector<Warp> warps_;
};

thread_local ThreadOrder thread_order;
thread_local Block* running = nullptr;
thread_local std::vector<std::unique_ptr<Worker>> idle;  // kept for the next blocks and launches

Worker* TakeWorker() {
  if (idle.empty()) return new Worker;
  Worker* worker = idle.back().release();
  idle.pop_back();
  return worker;
}

Block::Block(const Grid& grid, const std::function<void()>& body, ThreadOrder order)
    : grid_(grid),
      body_(body),
      threads_(size_t{grid.threads.x} * grid.threads.y * grid.threads.z),
      ready_(static_cast<int>(threads_.size()), order),
      warps_((threads_.size() + kWarpLanes - 1) / kWarpLanes) {
  const dim3 n = grid.threads;
  for (unsigned i = 0; i < threads_.size(); ++i) threads_[i].index = {i % n.x, i / n.x % n.y, i / n.x / n.y};
}

void Block::Run(uint3 index) {
  blockIdx = index;
  const int n = static_cast<int>(threads_.size());
  ended_ = 0;
  for (int i = 0; i < n; ++i) {
    threads_[i].ended = false;
    warps_[i / kWarpLanes].alive |= 1u << i % kWarpLanes;
    ready_.Add(i);
  }
  while (ended_ < n) {
    if (ready_.empty()) FailStuck();
    Step(ready_.Take());
  }
}

void Block::Step(int i) {
  Thread& thread = threads_[i];
  if (thread.worker == nullptr) thread.worker = TakeWorker();
  current_ = i;
  threadIdx = thread.index;
  if (thread.worker->Resume(body_)) Ended(i);
}

void Block::WaitHere(Wait wait) {
  Thread& thread = threads_[current_];
  thread.wait = wait;
  thread.worker->Suspend();
}

void Block::Ended(int i) {
  Thread& thread = threads_[i];
  thread.ended = true;
  ++ended_;
  idle.emplace_back(std::exchange(thread.worker, nullptr));
  DropCopies(i);
  const int warp = i / kWarpLanes;
  warps_[warp].alive &= ~(1u << i % kWarpLanes);
  std::vector<Rendezvous>& open = warps_[warp].open;
  for (size_t k = 0; k < open.size();) {  // those that waited for this thread alone
    if (Complete(warp, open[k])) {
      open.erase(open.begin() + k);
    } else {
      ++k;
    }
  }
}

Barrier Block::AtBarrier(bool predicate, const std::source_location& where) {
  if (at_barrier_ == 0) {
    barrier_ = {"__syncthreads", where};
  } else if (barrier_.where.line() != where.line() || barrier_.where.file_name() != where.file_name()) {
    Fail(absl::StrCat("threads of a block are at different barriers: ", Text(barrier_.where), " and ", Text(where)));
  }
  predicates_ += predicate;
  if (++at_barrier_ < static_cast<int>(threads_.size())) {
    WaitHere(barrier_);
    return last_barrier_;
  }
  last_barrier_ = {std::exchange(at_barrier_, 0), std::exchange(predicates_, 0)};
  // This thread, too, goes on only when it is chosen.
  for (size_t i = 0; i < threads_.size(); ++i) ready_.Add(static_cast<int>(i));
  WaitHere({});
  return last_barrier_;
}

bool Block::Complete(int warp, Rendezvous& rendezvous) {
  if ((rendezvous.mask & warps_[warp].alive) != rendezvous.arrived) return false;
  rendezvous.combine(rendezvous.operands);
  for (unsigned left = rendezvous.arrived; left != 0; left &= left - 1) {
    ready_.Add(warp * kWarpLanes + std::countr_zero(left));
  }
  return true;
}

void Block::AtRendezvous(unsigned mask, const char* operation, void* operand, Combine* combine,
                         const std::source_location& where) {
  const int warp = current_ / kWarpLanes, lane = current_ % kWarpLanes;
  if (!(mask >> lane & 1)) {
    Fail(absl::StrFormat("%s at %s: lane %d is not in its own mask %08x", operation, Text(where), lane, mask));
  }
  std::vector<Rendezvous>& open = warps_[warp].open;
  size_t k = 0;
  while (k < open.size() && open[k].mask != mask) ++k;
  if (k == open.size()) open.push_back({mask, 0, {operation, where, mask}, combine, {}});
  Rendezvous& mine = open[k];
  if (mine.combine != combine || mine.wait.where.line() != where.line()) {
    Fail(absl::StrCat("lanes of a warp execute different instructions: ", mine.wait.operation, " at ",
                      Text(mine.wait.where), " and ", operation, " at ", Text(where)));
  }
  mine.arrived |= 1u << lane;
  mine.operands[lane] = operand;
  if (Complete(warp, mine)) open.erase(open.begin() + k);
  WaitHere({operation, where, mask});
}

void Block::FailStuck() {
  constexpr int kShown = 8;
  std::string text =
      absl::StrCat("threads wait for others that never come (", ended_, " of ", threads_.size(), " have ended)");
  int shown = 0;
  for (const Thread& thread : threads_) {
    if (thread.ended) continue;
    if (++shown > kShown) break;
    absl::StrAppend(&text, absl::StrFormat("\n  thread (%d, %d, %d) waits in %s at %s", thread.index.x, thread.index.y,
                                           thread.index.z, thread.wait.operation, Text(thread.wait.where)));
    if (thread.wait.mask != 0) absl::StrAppend(&text, absl::StrFormat(", mask %08x", thread.wait.mask));
  }
  if (shown > kShown) absl::StrAppend(&text, "\n  ..");
  Fail(text);
}

}  // namespace

void SetThreadOrder(ThreadOrder order) { thread_order = order; }

void Run(const Grid& grid, const std::function<void()>& thread) {
  Block block(grid, thread, thread_order);
  SharedMemory shared(grid);
  BeginCopies(grid.threads.x * grid.threads.y * grid.threads.z);
  running = &block;
  blockDim = grid.threads;
  gridDim = grid.blocks;
  for (unsigned z = 0; z < grid.blocks.z; ++z) {
    for (unsigned y = 0; y < grid.blocks.y; ++y) {
      for (unsigned x = 0; x < grid.blocks.x; ++x) {
        shared.BeginBlock();
        BeginBarriers();
        BeginProducts(grid.threads.x * grid.threads.y * grid.threads.z);
        block.Run({x, y, z});
        CheckProducts();
        CheckBarriers();
        shared.CheckBounds();
      }
    }
  }
  running = nullptr;
}

const Grid* RunningGrid() { return running == nullptr ? nullptr : &running->grid(); }

int ThreadInBlock() { return running->current(); }

Barrier BlockBarrier(bool predicate, const std::source_location& where) { return running->AtBarrier(predicate, where); }

void Suspend(const char* operation, const std::source_location& where) { running->WaitHere({operation, where}); }

void MakeReady(int thread) { running->MakeReady(thread); }

void WarpRendezvous(unsigned mask, const char* operation, void* operand, Combine* combine,
                    const std::source_location& where) {
  running->AtRendezvous(mask, operation, operand, combine, where);
}

}  // namespace photon::simt
