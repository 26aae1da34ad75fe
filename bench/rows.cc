// Operations on whole rows (embedding, windows, cross-entropy, sampling) on any device: time, GB/s, and the share of
// the bandwidth that a copy of the same size reaches in the same program. Bytes are those that must move: each row that
// is named read once, results written once, what is added to read and written. A table for people, then one JSON line.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/bandwidth.h"
#include "bench/device_option.h"
#include "bench/report.h"
#include "core/backend.h"
#include "core/device.h"
#include "core/random.h"

namespace photon {
namespace {

class Bench {
 public:
  Bench(OpenedDevice& device, double budget, int64_t bytes)
      : context_(device.MakeContext(nullptr)), name_(device.Description()), table_(context_, budget), bytes_(bytes) {
    table_.Begin(name_ + ", operands of " + std::to_string(bytes / 1'000'000) + " MB", bytes);
  }

  void Run(bool sampling) {
    for (const int64_t width : {512, 2048}) {
      Embedding(width, DType::kF32);
      Windows(width, DType::kBF16);
      StartLatent(width, DType::kBF16);
    }
    for (const int64_t vocabulary : {32'000, 50'257, 128'256}) {
      for (const DType dtype : {DType::kBF16, DType::kF32}) CrossEntropy(vocabulary, dtype);
    }
    for (const int64_t vocabulary : {50'257, 128'256}) {
      if (!sampling) break;
      for (const int64_t rows : {1, 64, 1024}) Sampling(rows, vocabulary);
    }
  }
  bool Write(const std::string& file) const {
    return WriteReport({{"bench", "rows"},
                        {"device", name_},
                        {"bytes", bytes_},
                        {"copy_gb_per_s", table_.copy() / 1e9},
                        {"results", table_.results()}},
                       file);
  }

 private:
  Tensor Filled(Shape shape, DType dtype) const {
    const Tensor zeros = context_.Zeros(shape, DType::kF32);
    if (dtype == DType::kF32) return zeros;
    const Tensor t = context_.Empty(std::move(shape), dtype);
    ops::Cast(context_, zeros.rank() == 2 ? zeros : zeros.Reshape({1, zeros.elements()}),
              t.rank() == 2 ? t : t.Reshape({1, t.elements()}));
    return t;
  }
  Tensor Index(const std::vector<int32_t>& values) const {
    return context_.FromHost(values.data(), {static_cast<int64_t>(values.size())}, DType::kI32);
  }
  int64_t RowsOf(int64_t width, DType dtype) const {
    return std::max<int64_t>(1, bytes_ / (width * static_cast<int64_t>(ByteSize(dtype))));
  }

  // Token ids as in text: the r-th most frequent of 50,257 has a share of about 1 / (r ln V), the first some 9 %.
  void Embedding(int64_t width, DType dtype) {
    constexpr int64_t kTokens = 50'257;
    const int64_t n = RowsOf(width, dtype);
    const Philox philox(1, 0);
    std::vector<int32_t> ids(n);
    for (int64_t i = 0; i < n; ++i) {
      ids[i] = static_cast<int32_t>(std::min<double>(std::pow(kTokens, philox.Uniform(i)) - 1, kTokens - 1));
    }
    const double named = std::set<int32_t>(ids.begin(), ids.end()).size();
    const Tensor table = Filled({kTokens, width}, DType::kF32), rows = Filled({n, width}, dtype), index = Index(ids);
    const double row = static_cast<double>(width * ByteSize(dtype));
    const std::string what = absl::StrCat(" tokens, W ", width, " ", Name(dtype));
    table_.Time("select" + what, (n + named) * row, [&] { ops::SelectRows(context_, table, {}, index, rows); });
    table_.Time("gradient" + what, (n + 2 * named) * row,
                [&] { ops::SelectRowsGradient(context_, rows, index, table, {}); });
  }

  // Each row of a taken once, and every 17th the start latent.
  void Windows(int64_t width, DType dtype) {
    const int64_t n = RowsOf(width, dtype);
    std::vector<int32_t> picked(n);
    int32_t next = 0;
    for (int64_t i = 0; i < n; ++i) picked[i] = i % 17 == 0 ? -1 : next++;
    const Tensor a = Filled({std::max(next, 1), width}, dtype), b = Filled({1, width}, dtype);
    const Tensor rows = Filled({n, width}, dtype), index = Index(picked);
    const double row = static_cast<double>(width * ByteSize(dtype));
    const std::string what = absl::StrCat(" windows, W ", width, " ", Name(dtype));
    table_.Time("select" + what, (n + next + 1) * row, [&] { ops::SelectRows(context_, a, b, index, rows); });
    table_.Time("gradient" + what, (n + 2.0 * (next + 1)) * row,
                [&] { ops::SelectRowsGradient(context_, rows, index, a, b); });
  }

  // The gradient of the start latent alone: every 16th row into one.
  void StartLatent(int64_t width, DType dtype) {
    const int64_t n = RowsOf(width, dtype);
    std::vector<int32_t> picked(n);
    for (int64_t i = 0; i < n; ++i) picked[i] = i % 16 == 0 ? -1 : static_cast<int32_t>(i);
    const Tensor start = Filled({1, width}, DType::kF32), rows = Filled({n, width}, dtype), index = Index(picked);
    table_.Time(absl::StrCat("gradient of a start, W ", width, " ", Name(dtype)),
                (n / 16 + 1.0) * width * static_cast<double>(ByteSize(dtype)) + 4.0 * n,
                [&] { ops::SelectRowsGradient(context_, rows, index, {}, start); });
  }

  void CrossEntropy(int64_t vocabulary, DType dtype) {
    const int64_t n = RowsOf(vocabulary, dtype);
    const Tensor logits = Filled({n, vocabulary}, dtype), nll = Filled({n}, DType::kF32),
                 scale = Filled({n}, DType::kF32);
    const Tensor target = context_.Zeros({n}, DType::kI32);
    const std::string what = absl::StrCat(", V ", vocabulary, " ", Name(dtype));
    const auto bytes = static_cast<double>(logits.bytes());
    table_.Time("cross-entropy" + what, bytes, [&] { ops::CrossEntropyForward(context_, logits, target, {}, nll); });
    table_.Time("cross-entropy, gradient" + what, 2 * bytes,
                [&] { ops::CrossEntropyForward(context_, logits, target, scale, nll); });
    const Tensor stats = context_.Empty({n, 3}, DType::kF32);
    table_.Time("vocabulary statistics" + what, bytes,
                [&] { ops::VocabularyStatistics(context_, logits, target, stats); });
    table_.Time("split cross-entropy, gradient" + what, 2 * bytes, [&] {
      ops::SplitCrossEntropy(context_, logits, target, target, stats.Reshape({1, n, 3}), scale, nll);
    });
  }

  // Logits like a language model's: normal ones, one in a thousand far out, which make up the nucleus.
  void Sampling(int64_t n, int64_t vocabulary) {
    const Philox philox(3, 1);
    std::vector<float> values(vocabulary);
    for (int64_t i = 0; i < vocabulary; ++i) {
      values[i] = static_cast<float>(2 * philox.Normal(i) + (i % 997 == 0 ? 14 : 0));
    }
    const Tensor row = context_.FromHost(values.data(), {1, vocabulary}, DType::kF32);
    const Tensor logits = context_.Empty({n, vocabulary}, DType::kF32), ids = context_.Empty({n}, DType::kI32);
    ops::SelectRows(context_, row, {}, Index(std::vector<int32_t>(n)), logits);
    const std::vector<std::pair<const char*, ops::SamplingSettings>> all = {
        {"greedy", {}},
        {"temperature", {.temperature = 1}},
        {"top-k 50", {.temperature = 1, .top_k = 50}},
        {"top-p 0.95", {.temperature = 1, .top_p = 0.95}},
        {"top-p 0.95, flat", {.temperature = 4, .top_p = 0.95}},
        {"typical-p 0.95", {.temperature = 1, .typical_p = 0.95}}};
    for (const auto& [name, s] : all) {
      std::vector<double> settings;
      std::vector<int64_t> index;
      for (int64_t i = 0; i < n; ++i) {
        settings.insert(settings.end(), {s.temperature, s.top_p, s.min_p, s.typical_p});
        index.push_back(i);
      }
      const ops::SampleParameters parameters = {.settings = context_.FromHost(settings.data(), {n, 4}, DType::kF64),
                                                .top_k = Index(std::vector<int32_t>(n, s.top_k)),
                                                .streams = context_.Zeros({n, 2}, DType::kI64),
                                                .index = context_.FromHost(index.data(), {n}, DType::kI64)};
      table_.Time(absl::StrCat("sample ", n, " x ", vocabulary, ", ", name), static_cast<double>(logits.bytes()),
                  [&] { ops::SampleRows(context_, logits, parameters, ids, {}); });
    }
  }

  Context context_;
  std::string name_;
  BandwidthTable table_;
  int64_t bytes_;
};

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  CLI::App app("Bandwidth of the operations on whole rows: embedding, windows, cross-entropy, sampling");
  std::string name = "cpu", json;
  double budget = 0.3;
  int64_t megabytes = 0;
  bool no_sampling = false;
  photon::AddDeviceOption(app, &name);
  app.add_option("--seconds", budget, "for each measurement")->capture_default_str();
  app.add_option("--megabytes", megabytes, "of the largest operand; 0: 64, or 512 on a GPU: many times its caches");
  app.add_flag("--no-sampling", no_sampling, "leave out sampling, which is bound by more than memory");
  app.add_option("--json", json, "file for the figures");
  CLI11_PARSE(app, argc, argv);
  const auto device = photon::OpenDeviceOrExit(name);
  if (megabytes == 0) megabytes = device->device().type == photon::DeviceType::kCpu ? 64 : 512;
  photon::Bench bench(*device, budget, megabytes << 20);
  bench.Run(!no_sampling);
  return bench.Write(json) ? 0 : 1;
}
