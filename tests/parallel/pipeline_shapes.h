// Chains for tests of pipelines.
#pragma once

#include <random>
#include <string>

#include "parallel/pipeline/chain.h"

namespace photon::testing {

// The shape and costs that the efficiencies of docs/parallelism.md are for: 12 layers a stack, F = B = W.
inline pipeline::Chain StatedChain() {
  pipeline::Chain chain;
  const auto add = [&](const char* group, double cost) {
    for (int i = 1; i <= 12; ++i) {
      chain.items.push_back({.name = std::string(group) + " " + std::to_string(i),
                             .group = group,
                             .forward = cost,
                             .backward = cost,
                             .weights = cost,
                             .parameter_bytes = 1 << 20,
                             .activation_bytes = static_cast<int64_t>(cost * (1 << 20)),
                             .stream_bytes = 1 << 10});
    }
  };
  add("E1", 0.25);
  add("E2", 0.0625);
  add("D2", 0.5);
  add("D1", 2);
  chain.encoders = 24;
  chain.skips = {{11, {{24}, {35, false}}}};  // X^1: contents of decoder 2, and the target at its end
  return chain;
}

// Any chain that a pipeline may be given: odd sizes, costs that differ a thousandfold, some of them 0, skips at random.
inline pipeline::Chain RandomChain(std::mt19937& random, int items) {
  const auto below = [&](int n) { return static_cast<int>(random() % n); };
  pipeline::Chain chain;
  for (int i = 0; i < items; ++i) {
    const double cost = below(4) == 0 ? 10.0 * below(10) : 0.01 * (1 + below(50));
    chain.items.push_back({.name = "layer " + std::to_string(i),
                           .group = "G" + std::to_string(i / 3),
                           .forward = cost,
                           .backward = cost * (1 + below(2)),
                           .weights = cost * below(2),
                           .parameter_bytes = 1000 * (1 + below(9)),
                           .activation_bytes = 100 * below(9),
                           .stream_bytes = 8 * (1 + below(9))});
  }
  chain.encoders = 1 + below(items - 1);
  for (int from = 0; from + 1 < items; ++from) {
    if (below(3) > 0) continue;
    pipeline::Skip skip = {.from = from, .uses = {}};
    for (int n = below(3); n >= 0; --n) skip.uses.push_back({from + 1 + below(items - from - 1), below(2) == 0});
    chain.skips.push_back(std::move(skip));
  }
  return chain;
}

}  // namespace photon::testing
