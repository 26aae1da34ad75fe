// Causal attention over long streams on any device: TFLOP/s, and the share of a measured large bf16 product. Counted
// are the pairs that the mask leaves: two products of each forward, five backward, however many a kernel computes.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/device_option.h"
#include "bench/report.h"
#include "bench/timing.h"
#include "core/backend.h"
#include "core/device.h"
#include "core/ops/attention.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/random.h"

namespace photon {
namespace {

struct Options {
  std::string device = "cpu", json;
  double budget = 0.3;
  int64_t tokens = 0;
  std::vector<int64_t> lengths = {512, 2048, 8192}, head_dims = {64, 52, 56, 60, 128};
  int heads = 16, kv_heads = 16;
};

class Bench {
 public:
  Bench(OpenedDevice& device, const Options& options)
      : context_(device.MakeContext(nullptr)), name_(device.Description()), options_(options) {}

  void Run(int64_t product_width) {
    const Tensor a = Filled(product_width, product_width), b = Filled(product_width, product_width);
    const Tensor c = context_.Empty(a.shape(), a.dtype());
    const double product =
        QueuedSeconds(context_, options_.budget, [&] { ops::MatMul(context_, a, false, b, true, {}, 0, c); });
    peak_ = 2.0 * product_width * product_width * product_width / product;
    std::printf("%s: bf16 product of %ld %.1f TFLOP/s\n%-64s%12s%10s%9s\n", name_.c_str(),
                static_cast<long>(product_width), peak_ / 1e12, "", "us", "TFLOP/s", "share");
    for (const int64_t length : options_.lengths) {
      for (const int64_t head_dim : options_.head_dims) Stream(length, head_dim);
    }
  }
  bool Write() const {
    return WriteReport({{"bench", "attention_streams"},
                        {"device", name_},
                        {"tokens", options_.tokens},
                        {"product_tflops", peak_ / 1e12},
                        {"results", results_}},
                       options_.json);
  }

 private:
  Tensor Filled(int64_t rows, int64_t width) const {
    const Philox philox(1, 0);
    std::vector<float> values(rows * width);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(philox.Normal(i));
    return ops::Converted(context_, context_.FromHost(values.data(), {rows, width}, DType::kF32), DType::kBF16);
  }

  void Stream(int64_t length, int64_t head_dim) {
    const int64_t batch = std::max<int64_t>(1, options_.tokens / length), rows = batch * length;
    const int heads = options_.heads, kv_heads = options_.kv_heads;
    const ops::AttentionShape shape = {
        .batch = batch, .length = length, .heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .first_key = {}};
    const int64_t keys = heads * head_dim, values = keys + kv_heads * head_dim, end = values + kv_heads * head_dim;
    const Tensor qkv = Filled(rows, end), dout = Filled(rows, keys);
    const Tensor out = context_.Empty(dout.shape(), dout.dtype()), dqkv = context_.Empty(qkv.shape(), qkv.dtype());
    const Tensor lse = context_.Empty({heads, rows}, DType::kF32);
    const Tensor q = qkv.Columns(0, keys), k = qkv.Columns(keys, values), v = qkv.Columns(values, end);
    const std::string name = std::to_string(batch) + " x " + std::to_string(length) + " positions, heads " +
                             std::to_string(heads) + "/" + std::to_string(kv_heads) + " x " + std::to_string(head_dim);
    const double product = 1.0 * batch * heads * length * (length + 1) * head_dim;
    Time(name + " forward", 2 * product, [&] { ops::AttentionForward(context_, q, k, v, shape, out, lse); });
    Time(name + " backward", 5 * product, [&] {
      ops::AttentionBackward(context_, dout, q, k, v, out, lse, shape, dqkv.Columns(0, keys),
                             dqkv.Columns(keys, values), dqkv.Columns(values, end));
    });
  }

  void Time(const std::string& name, double flop, const std::function<void()>& run) {
    const double seconds = QueuedSeconds(context_, options_.budget, run), speed = flop / seconds;
    std::printf("%-64s%12.1f%10.2f%8.1f%%\n", name.c_str(), seconds * 1e6, speed / 1e12, 100 * speed / peak_);
    results_.push_back(
        {{"name", name}, {"us", seconds * 1e6}, {"tflops", speed / 1e12}, {"share_of_product", speed / peak_}});
  }

  const Context context_;
  const std::string name_;
  const Options options_;
  double peak_ = 0;
  nlohmann::json results_ = nlohmann::json::array();
};

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  CLI::App app("Speed of causal attention over long streams, in bf16");
  photon::Options options;
  photon::AddDeviceOption(app, &options.device);
  app.add_option("--seconds", options.budget, "for each measurement")->capture_default_str();
  app.add_option("--tokens", options.tokens, "positions of a batch; 0: 2048, or 32768 on a GPU");
  app.add_option("--lengths", options.lengths, "of streams")->capture_default_str();
  app.add_option("--head-dims", options.head_dims, "widths of a head")->capture_default_str();
  app.add_option("--heads", options.heads, "query heads")->capture_default_str();
  app.add_option("--kv-heads", options.kv_heads, "key/value heads")->capture_default_str();
  app.add_option("--json", options.json, "file for the figures");
  CLI11_PARSE(app, argc, argv);
  const auto device = photon::OpenDeviceOrExit(options.device);
  device->TimeProducts(true);  // the product that shares are given of
  const bool on_cpu = device->device().type == photon::DeviceType::kCpu;
  if (options.tokens == 0) options.tokens = on_cpu ? 2048 : 32768;
  photon::Bench bench(*device, options);
  bench.Run(/*product_width=*/on_cpu ? 1024 : 8192);
  return bench.Write() ? 0 : 1;
}
