#include "core/dry/operation_time.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "core/backend.h"

namespace photon::dry {
namespace {

constexpr double kTile = 128;             // rows and columns of C that a multiprocessor makes at once
constexpr double kMultiprocessors = 132;  // of an H100 or H200; an A100 has 108
constexpr double kFilling = 256;          // k at which filling pipelines takes as long as computing

double ProductShare(const Operation& operation) {
  const auto m = static_cast<double>(operation.m), n = static_cast<double>(operation.n);
  const auto k = static_cast<double>(operation.k);
  const double tiles = std::ceil(m / kTile) * std::ceil(n / kTile);
  const double full = m * n / (tiles * kTile * kTile);
  // Long sums with few tiles are split along k (split-k, stream-k): no worse than half of the multiprocessors idle.
  const double rounds = tiles / (std::ceil(tiles / kMultiprocessors) * kMultiprocessors);
  return full * std::max(rounds, 0.5) * k / (k + kFilling);
}

}  // namespace

double FiguredTime::Seconds(const Operation& operation) {
  const double moving = operation.bytes / (figures_.memory_bandwidth * figures_.bandwidth_share);
  double computing = 0;
  if (operation.flops > 0) {
    const double peak = operation.dtype == DType::kBF16 ? figures_.peak_bf16 : figures_.peak_f32;
    const double share = operation.k > 0 ? figures_.product_share * ProductShare(operation) : figures_.attention_share;
    computing = operation.flops / (peak * share);
  }
  return std::max(computing, moving) + figures_.launch;
}

double MeasuredTime::Seconds(const Operation& operation) {
  const absl::MutexLock lock(&mutex_);
  const auto known = known_.find(operation.signature);
  if (known != known_.end()) return known->second;
  std::vector<double> seconds(ranks_);
  const auto measure = [&](int rank) {
    Arena arena;
    seconds[rank] = operation.measure(Context({}, CpuBackend(), arena));
  };
  std::vector<std::thread> others;
  for (int rank = 1; rank < ranks_; ++rank) others.emplace_back(measure, rank);
  measure(0);
  for (std::thread& other : others) other.join();
  double sum = 0;
  for (const double s : seconds) sum += s;
  return known_[operation.signature] = sum / ranks_;
}

}  // namespace photon::dry
