// Microseconds that choosing one token takes, by setting and size of the vocabulary, against one pass over the logits
// (their largest, with vectors: the least that any choice must do) and against sorting them, as a naive sampler does.
#include "inference/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "bench/timing.h"
#include "core/random.h"
#include "inference/penalties.h"

namespace photon {
namespace {

struct Setting {
  const char* name;
  SamplingOptions options;
};

// Logits like a language model's: normal ones, one in a thousand far out, which make up the nucleus. At a temperature
// of 4 the distribution is nearly flat and the nucleus most of the vocabulary: the worst case.
std::vector<float> Logits(int64_t vocabulary) {
  const Philox philox(3, 1);
  std::vector<float> logits(vocabulary);
  for (int64_t i = 0; i < vocabulary; ++i) {
    logits[i] = static_cast<float>(2 * philox.Normal(i));
    if (i % 997 == 0) logits[i] += 14;
  }
  return logits;
}

// The median of interleaved rounds, microseconds a call.
template <typename F>
double Microseconds(F&& run) {
  constexpr int kCalls = 20;
  return 1e6 / kCalls * Seconds([&] {
           for (int i = 0; i < kCalls; ++i) run(i);
         });
}

void Measure(int64_t vocabulary) {
  const std::vector<Setting> settings = {{"greedy", {}},
                                         {"temperature", {.temperature = 1}},
                                         {"top-k 50", {.temperature = 1, .top_k = 50}},
                                         {"top-p 0.95", {.temperature = 1, .top_p = 0.95}},
                                         {"top-p 0.95, flat", {.temperature = 4, .top_p = 0.95}},
                                         {"min-p 0.05", {.temperature = 1, .min_p = 0.05}},
                                         {"top-k 50, top-p 0.9", {.temperature = 0.8, .top_k = 50, .top_p = 0.9}},
                                         {"typical-p 0.95", {.temperature = 1, .typical_p = 0.95}}};
  const std::vector<float> logits = Logits(vocabulary);
  constexpr int kRounds = 15;
  std::vector<std::vector<double>> times(settings.size());
  std::vector<double> pass, sorted, penalized;
  std::vector<int32_t> ids(vocabulary);
  std::vector<float> changed = logits;
  Sampler<float> sampler;
  cpu::BlockMaxima<float> maxima;
  TokenHistory history;
  for (int32_t i = 0; i < 2000; ++i) history.AddGenerated(i * 7919 % vocabulary);
  const SamplingOptions penalties = {.repetition_penalty = 1.1, .frequency_penalty = 0.1};
  int64_t sink = 0;
  for (int round = 0; round < kRounds; ++round) {
    pass.push_back(Microseconds([&](int) {
      maxima.Read(logits);
      sink += static_cast<int64_t>(maxima.largest());
    }));
    for (size_t s = 0; s < settings.size(); ++s) {
      times[s].push_back(
          Microseconds([&](int i) { sink += sampler.Sample(logits, settings[s].options, (i + 0.5) / 20); }));
    }
    penalized.push_back(
        Microseconds([&](int) { ApplyPenalties<float>(penalties, history, {}, absl::MakeSpan(changed)); }));
    if (round % 5 == 0) {
      sorted.push_back(1e6 * Seconds([&] {
                         std::iota(ids.begin(), ids.end(), 0);
                         std::sort(ids.begin(), ids.end(), [&](int a, int b) { return logits[a] > logits[b]; });
                         sink += ids[0];
                       }));
    }
  }
  const double one = Median(pass);
  nlohmann::ordered_json json = {{"benchmark", "sampler"}, {"vocabulary", vocabulary}, {"pass_us", one}};
  const auto line = [&](const std::string& name, double microseconds) {
    std::printf("%8ld  %-22s %10.1f us %8.1f passes\n", static_cast<long>(vocabulary), name.c_str(), microseconds,
                microseconds / one);
    json[name] = microseconds;
  };
  line("one pass", one);
  for (size_t s = 0; s < settings.size(); ++s) line(settings[s].name, Median(times[s]));
  line("penalties, 2000 ids", Median(penalized));
  line("sorting them all", Median(sorted));
  std::printf("%s\n", json.dump().c_str());
  if (sink == 42) std::printf("\n");  // the results are used
}

}  // namespace
}  // namespace photon

int main() {
  for (const int64_t vocabulary : {32'000, 50'304, 128'256}) photon::Measure(vocabulary);
  return 0;
}
