#include "tests/support/sampling_reference.h"

#include <algorithm>
#include <cmath>

namespace photon::testing {

std::vector<double> ProbabilitiesBySorting(const std::vector<double>& logits, const ops::SamplingSettings& o) {
  struct Token {
    size_t id;
    double p;
  };
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<Token> left;
  for (size_t i = 0; i < logits.size(); ++i) left.push_back({i, std::exp((logits[i] - largest) / o.temperature)});
  const auto likely_first = [](const Token& a, const Token& b) { return a.p != b.p ? a.p > b.p : a.id < b.id; };
  const auto normalize = [&] {
    double sum = 0;
    for (const Token& t : left) sum += t.p;
    for (Token& t : left) t.p /= sum;
  };
  const auto reach = [&](double p) {
    double sum = 0;
    size_t n = 0;
    while (n < left.size() && sum < p) sum += left[n++].p;
    left.resize(n);
    normalize();
  };
  std::sort(left.begin(), left.end(), likely_first);
  while (left.back().p < o.min_p) left.pop_back();
  if (o.top_k > 0 && left.size() > static_cast<size_t>(o.top_k)) left.resize(o.top_k);
  normalize();
  if (o.typical_p < 1) {
    double entropy = 0;
    for (const Token& t : left) entropy -= t.p > 0 ? t.p * std::log(t.p) : 0;
    std::stable_sort(left.begin(), left.end(), [&](const Token& a, const Token& b) {
      return std::abs(-std::log(a.p) - entropy) < std::abs(-std::log(b.p) - entropy);
    });
    reach(o.typical_p);
    std::sort(left.begin(), left.end(), likely_first);
  }
  if (o.top_p < 1) reach(o.top_p);
  std::vector<double> probabilities(logits.size());
  for (const Token& t : left) probabilities[t.id] = t.p;
  return probabilities;
}

}  // namespace photon::testing
