// Runs work that comes in order on several threads and hands on the results in that order.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/status.h"

namespace photon {

// One thread calls `produce` until it gives nothing, `threads` threads call `work`, the calling thread `consume`, on
// what was produced first first. So which results there are, and their order, depends on no timing. What is under way,
// from `produce` until `consume` has returned, is at most `budget`, by `cost`, or a single item; and one item more,
// which `produce` gave before there was room for it.
//   produce()             -> absl::StatusOr<std::optional<In>>
//   cost(const In&)       -> int64_t
//   work(int thread, In)  -> Out
//   consume(Out)          -> absl::Status
// Returns the first error in the order of items: of `consume`, else of `produce`. Throws what any of them throws.
template <typename In, typename Out>
class OrderedPipeline {
 public:
  OrderedPipeline(int threads, int64_t budget) : threads_(threads), budget_(budget) {}

  template <typename Produce, typename Cost, typename Work, typename Consume>
  absl::Status Run(Produce&& produce, Cost&& cost, Work&& work, Consume&& consume) {
    std::vector<std::jthread> helpers;
    const Stopper stopper{this};  // before the threads are joined, also where `consume` throws
    helpers.emplace_back([&] { Guard([&] { ProduceAll(produce, cost); }); });
    for (int i = 0; i < threads_; ++i) {
      helpers.emplace_back([&, i] { Guard([&] { WorkAll(i, work); }); });
    }
    absl::Status status = ConsumeAll(consume);
    Stop();
    helpers.clear();
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    return status;
  }

 private:
  struct Item {
    int64_t cost;
    std::optional<In> in;
    std::optional<Out> out;
  };
  struct Stopper {
    OrderedPipeline* pipeline;
    ~Stopper() { pipeline->Stop(); }
  };

  template <typename F>
  void Guard(F&& f) {
    try {
      f();
    } catch (...) {
      {
        const std::lock_guard lock(mutex_);
        if (failure_ == nullptr) failure_ = std::current_exception();
      }
      Stop();
    }
  }

  void Stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    room_.notify_all();
    ready_.notify_all();
    done_.notify_all();
  }

  template <typename Produce, typename Cost>
  void ProduceAll(Produce& produce, Cost& cost) {
    while (true) {
      absl::StatusOr<std::optional<In>> in = produce();
      std::unique_lock lock(mutex_);
      if (!in.ok() || !in->has_value()) {
        produced_ = in.status();
        ready_.notify_all();
        done_.notify_all();
        return;
      }
      auto item = std::make_unique<Item>(Item{cost(**in), *std::move(in), std::nullopt});
      room_.wait(lock, [&] { return stopped_ || in_flight_ == 0 || in_flight_ + item->cost <= budget_; });
      if (stopped_) return;
      in_flight_ += item->cost;
      waiting_.push_back(item.get());
      items_.push_back(std::move(item));
      ready_.notify_one();
    }
  }

  template <typename Work>
  void WorkAll(int thread, Work& work) {
    std::unique_lock lock(mutex_);
    while (true) {
      ready_.wait(lock, [&] { return stopped_ || !waiting_.empty() || produced_.has_value(); });
      if (stopped_ || waiting_.empty()) return;
      Item* item = waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      Out out = work(thread, *std::exchange(item->in, std::nullopt));
      lock.lock();
      item->out = std::move(out);
      if (item == items_.front().get()) done_.notify_one();
    }
  }

  template <typename Consume>
  absl::Status ConsumeAll(Consume& consume) {
    std::unique_lock lock(mutex_);
    while (true) {
      done_.wait(
          lock, [&] { return stopped_ || (items_.empty() ? produced_.has_value() : items_.front()->out.has_value()); });
      if (stopped_) return absl::OkStatus();  // something was thrown
      if (items_.empty()) return *produced_;
      const std::unique_ptr<Item> item = std::move(items_.front());
      items_.pop_front();
      lock.unlock();
      PHOTON_RETURN_IF_ERROR(consume(*std::move(item->out)));
      lock.lock();
      in_flight_ -= item->cost;
      room_.notify_one();
    }
  }

  const int threads_;
  const int64_t budget_;
  std::mutex mutex_;
  std::condition_variable room_, ready_, done_;
  std::deque<std::unique_ptr<Item>> items_;  // not yet consumed
  std::deque<Item*> waiting_;                // of these, the ones that no thread has taken
  int64_t in_flight_ = 0;                    // the cost of what waits, is worked on or being consumed
  std::optional<absl::Status> produced_;     // `produce` came to its end
  bool stopped_ = false;
  std::exception_ptr failure_;
};

}  // namespace photon
