// A Prometheus histogram of seconds. Used under its owner's lock.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace photon {

class Histogram {
 public:
  void Add(double seconds);
  // In Prometheus's text format, with HELP and TYPE.
  std::string Text(const std::string& name, const std::string& help) const;

 private:
  // From a token of a small model to a long text of a large one.
  static constexpr std::array kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                         0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 60., 300.};
  std::array<int64_t, kBounds.size() + 1> counts_ = {};
  double sum_ = 0;
};

}  // namespace photon
