// A table of what operations move, each as a share of what a large copy moves in the same program.
#pragma once

#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/timing.h"
#include "core/ops/elementwise.h"

namespace photon {

// Bytes a second, read and written, of a copy of `bytes`.
inline double CopyBandwidth(const Context& context, double budget, int64_t bytes) {
  const Tensor from = context.Zeros({bytes / 4}, DType::kF32), to = context.Zeros(from.shape(), from.dtype());
  return 2.0 * static_cast<double>(from.bytes()) /
         QueuedSeconds(context, budget, [&] { ops::Cast(context, from, to); });
}

class BandwidthTable {
 public:
  // `budget`: seconds for each measurement.
  BandwidthTable(const Context& context, double budget) : context_(context), budget_(budget) {}

  // Measures the copy, of `bytes`, and begins a table under `title`.
  void Begin(const std::string& title, int64_t bytes) {
    copy_ = CopyBandwidth(context_, budget_, bytes);
    std::printf("%s: copy %.1f GB/s\n%-52s%12s%10s%9s%10s\n", title.c_str(), copy_ / 1e9, "", "us", "GB/s", "share",
                "MB");
  }

  // A line for `run`, which cannot move less than `bytes`. `result`: what else its entry in results() has.
  void Time(const std::string& name, double bytes, const std::function<void()>& run,
            nlohmann::json result = nlohmann::json::object()) {
    const double seconds = QueuedSeconds(context_, budget_, run), bandwidth = bytes / seconds;
    std::printf("%-52s%12.1f%10.1f%8.0f%%%10.0f\n", name.c_str(), seconds * 1e6, bandwidth / 1e9,
                100 * bandwidth / copy_, bytes / 1e6);
    result.update(
        {{"name", name}, {"us", seconds * 1e6}, {"gb_per_s", bandwidth / 1e9}, {"share_of_copy", bandwidth / copy_}});
    results_.push_back(std::move(result));
  }

  double copy() const { return copy_; }  // bytes a second, of the table begun last
  const nlohmann::json& results() const { return results_; }

 private:
  const Context& context_;
  const double budget_;
  double copy_ = 0;
  nlohmann::json results_ = nlohmann::json::array();
};

}  // namespace photon
