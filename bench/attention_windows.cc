// Attention inside short windows on any device: GB/s, and the share of a measured copy, of the bytes that cannot be
// avoided: forward reads q, k, v and writes out and lse; backward reads those, lse and dout and writes dq, dk and dv.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/bandwidth.h"
#include "bench/device_option.h"
#include "bench/report.h"
#include "core/backend.h"
#include "core/device.h"
#include "core/ops/attention.h"
#include "core/ops/elementwise.h"
#include "core/ops/rows.h"
#include "core/random.h"

namespace photon {
namespace {

class Bench {
 public:
  Bench(OpenedDevice& device, double budget, int64_t rows)
      : context_(device.MakeContext(nullptr)), name_(device.Description()), table_(context_, budget), rows_(rows) {}

  void Run() {
    table_.Begin(name_, int64_t{256} << 20);
    for (const int64_t length : {2, 3, 5, 8, 9, 16}) Windows(length, 16, 16, 64);
    for (const int64_t head_dim : {52, 56, 60, 128}) Windows(5, 16, 16, head_dim);
    Windows(5, 16, 4, 64);
    Windows(5, 16, 4, 128);
  }
  bool Write(const std::string& file) const {
    return WriteReport(
        {{"bench", "attention_windows"}, {"device", name_}, {"rows", rows_}, {"results", table_.results()}}, file);
  }

 private:
  // Random rows, of 1024 different ones.
  Tensor Filled(int64_t rows, int64_t width) const {
    constexpr int64_t kDifferent = 1024;
    const Philox philox(1, 0);
    std::vector<float> values(kDifferent * width);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(philox.Normal(i));
    std::vector<int32_t> index(rows);
    for (int64_t i = 0; i < rows; ++i) index[i] = static_cast<int32_t>(i % kDifferent);
    const Tensor t = context_.Empty({rows, width}, DType::kBF16);
    const Tensor table = context_.FromHost(values.data(), {kDifferent, width}, DType::kF32);
    ops::SelectRows(context_, ops::Converted(context_, table, t.dtype()), {},
                    context_.FromHost(index.data(), {rows}, DType::kI32), t);
    return t;
  }

  void Windows(int64_t length, int heads, int kv_heads, int64_t head_dim) {
    const int64_t batch = rows_ / length, rows = batch * length;
    const ops::AttentionShape shape = {
        .batch = batch, .length = length, .heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .first_key = {}};
    const int64_t keys = heads * head_dim, values = keys + kv_heads * head_dim, end = values + kv_heads * head_dim;
    const Tensor qkv = Filled(rows, end), dout = Filled(rows, keys);
    const Tensor out = context_.Empty(dout.shape(), dout.dtype()), dqkv = context_.Empty(qkv.shape(), qkv.dtype());
    const Tensor lse = context_.Empty({heads, rows}, DType::kF32);
    const std::string name = "windows of " + std::to_string(length) + ", heads " + std::to_string(heads) + "/" +
                             std::to_string(kv_heads) + " x " + std::to_string(head_dim);
    const auto part = [&](const Tensor& t, int64_t from, int64_t to) { return t.Columns(from, to); };
    const Tensor q = part(qkv, 0, keys), k = part(qkv, keys, values), v = part(qkv, values, end);
    const double forward_bytes = qkv.bytes() + out.bytes() + lse.bytes();
    table_.Time(name + " forward", forward_bytes, [&] { ops::AttentionForward(context_, q, k, v, shape, out, lse); });
    table_.Time(name + " backward", 2.0 * qkv.bytes() + dout.bytes() + lse.bytes(), [&] {
      ops::AttentionBackward(context_, dout, q, k, v, out, lse, shape, part(dqkv, 0, keys), part(dqkv, keys, values),
                             part(dqkv, values, end));
    });
  }

  const Context context_;
  const std::string name_;
  BandwidthTable table_;
  const int64_t rows_;
};

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  CLI::App app("Bandwidth of attention inside short windows, in bf16");
  double budget = 0.3;
  int64_t rows = 0;
  std::string device_name = "cpu", json;
  photon::AddDeviceOption(app, &device_name);
  app.add_option("--seconds", budget, "for each measurement")->capture_default_str();
  app.add_option("--rows", rows, "of the operands; 0: 16384, or 262144 on a GPU: tensors of 512 MB");
  app.add_option("--json", json, "file for the figures");
  CLI11_PARSE(app, argc, argv);
  const auto device = photon::OpenDeviceOrExit(device_name);
  const bool on_cpu = device->device().type == photon::DeviceType::kCpu;
  photon::Bench bench(*device, budget, rows > 0 ? rows : on_cpu ? 16384 : 262144);
  bench.Run();
  return bench.Write(json) ? 0 : 1;
}
