// Operations bound by memory on any device: conversions, sums, norm, rotation, gate, losses, optimizer. GB/s, and the
// share of the bandwidth that a large copy reaches in the same program. Bytes are those that must move: operands read
// once, results written once. A table for people, then one JSON line.
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
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

namespace photon {
namespace {

class Bench {
 public:
  Bench(OpenedDevice& device, double budget, int64_t rows)
      : context_(device.MakeContext(nullptr)), name_(device.Description()), table_(context_, budget), rows_(rows) {}

  void Run() {
    table_.Begin("\n" + name_ + ", threads " + std::to_string(threads()), int64_t{256} << 20);
    for (const DType narrow : {DType::kF32, DType::kBF16}) {
      for (const int64_t width : {512, 1664}) Norm(width, narrow);
      SwiGlu(1408, narrow);
      Rotation(16, 64, narrow);
      Rotation(16, 52, narrow);
      CrossEntropy(16384, narrow);
      Sums(1664, narrow);
    }
    Cosine(512);
    Optimizer(rows_ * 1024);
  }
  bool Write(const std::string& file) const {
    return WriteReport({{"bench", "elementwise"}, {"device", name_}, {"rows", rows_}, {"results", table_.results()}},
                       file);
  }

 private:
  // Every value 0.5 of that type: speed does not depend on values here.
  Tensor Filled(const Shape& shape, DType dtype) const {
    const Tensor t = context_.Empty(shape, dtype);
    const std::vector<float> row(shape[shape.rank() - 1], 0.5f);
    const auto n = static_cast<int64_t>(row.size());
    const Tensor one = context_.FromHost(row.data(), {1, n}, DType::kF32);
    if (shape.rank() == 1) {
      ops::Cast(context_, one, t.Reshape({1, n}));
    } else {
      const Tensor table = ops::Converted(context_, one, dtype), index = context_.Zeros({shape[0]}, DType::kI32);
      ops::SelectRows(context_, table, {}, index, t);
    }
    return t;
  }

  void Sums(int64_t width, DType dtype) {
    const Tensor in = Filled({rows_, width}, dtype), wide = Filled({rows_, width}, DType::kF32);
    const Tensor column_sums = Filled({width}, DType::kF32);
    const auto bytes = static_cast<double>(in.bytes()), wide_bytes = static_cast<double>(wide.bytes());
    Time("cast to f32", width, dtype, bytes + wide_bytes, [&] { ops::Cast(context_, in, wide); });
    Time("cast from f32", width, dtype, bytes + wide_bytes, [&] { ops::Cast(context_, wide, in); });
    Time("add to f32", width, dtype, bytes + 2 * wide_bytes, [&] { ops::Add(context_, in, wide); });
    Time("sum of rows", width, dtype, bytes, [&] { ops::SumRows(context_, in, column_sums); });
  }

  void Rotation(int64_t heads, int64_t head_dim, DType dtype) {
    const int64_t width = heads * head_dim;  // of q and k, beside v, as a layer has them
    const Tensor qk = Filled({rows_, 3 * width}, dtype).Columns(0, 2 * width);
    const Tensor table = ops::RopeTable(context_, 2048, head_dim, 1e4, DType::kF32);
    std::vector<int32_t> positions(rows_);
    for (int64_t i = 0; i < rows_; ++i) positions[i] = static_cast<int32_t>(i % 2048);
    const Tensor index = context_.FromHost(positions.data(), {rows_}, DType::kI32);
    Time("rope, heads of", head_dim, dtype, 2.0 * qk.bytes(),
         [&] { ops::Rope(context_, qk, head_dim, index, table, /*inverse=*/false); });
  }

  void Optimizer(int64_t n) {
    const Tensor p = Filled({n}, DType::kF32), g = Filled({n}, DType::kF32), m = Filled({n}, DType::kF32),
                 v = Filled({n}, DType::kF32), copy = Filled({n}, DType::kBF16);
    const Tensor sum = context_.Empty({1}, DType::kF64);
    std::vector<double> values(ops::kAdamWControls, 0.5);
    const Tensor control = context_.FromHost(values.data(), {ops::kAdamWControls}, DType::kF64);
    Time("sum of squares", n, DType::kF32, 4.0 * n, [&] { ops::SumSquares(context_, g, sum); });
    Time("adamw", n, DType::kF32, 28.0 * n, [&] { ops::AdamW(context_, {}, control, p, g, m, v, {}); });
    Time("adamw with bf16 copy", n, DType::kF32, 30.0 * n,
         [&] { ops::AdamW(context_, {}, control, p, g, m, v, copy); });
  }

  void Norm(int64_t width, DType narrow) {
    const Shape shape = {rows_, width};
    const Tensor x = Filled(shape, DType::kF32), delta = Filled(shape, narrow), weight = Filled({width}, DType::kF32);
    const Tensor sum = Filled(shape, DType::kF32), y = Filled(shape, narrow), rstd = Filled({rows_}, DType::kF32);
    const Tensor dweight = Filled({width}, DType::kF32);
    const double wide_bytes = x.bytes(), bytes = y.bytes();
    Time("rms_norm", width, narrow, 2 * wide_bytes + 2 * bytes,
         [&] { ops::RmsNormForward(context_, x, delta, weight, 1e-5, sum, y, rstd); });
    // As in a layer: dx in the memory of dsum.
    Time("rms_norm_backward", width, narrow, 3 * wide_bytes + 2 * bytes,
         [&] { ops::RmsNormBackward(context_, y, sum, weight, rstd, x, x, delta, dweight); });
  }

  void SwiGlu(int64_t width, DType dtype) {
    const Tensor gate_up = Filled({rows_, 2 * width}, dtype), y = Filled({rows_, width}, dtype);
    Time("swiglu", width, dtype, 3.0 * y.bytes(), [&] { ops::SwiGluForward(context_, gate_up, y); });
    Time("swiglu_backward", width, dtype, 5.0 * y.bytes(), [&] { ops::SwiGluBackward(context_, y, gate_up, gate_up); });
  }

  void CrossEntropy(int64_t vocabulary, DType dtype) {
    const int64_t rows = rows_ / 8;
    const Tensor logits = Filled({rows, vocabulary}, dtype), nll = Filled({rows}, DType::kF32);
    const Tensor scale = Filled({rows}, DType::kF32), target = context_.Zeros({rows}, DType::kI32);
    Time("cross_entropy", vocabulary, dtype, logits.bytes(),
         [&] { ops::CrossEntropyForward(context_, logits, target, {}, nll); });
    Time("cross_entropy with gradient", vocabulary, dtype, 2.0 * logits.bytes(),
         [&] { ops::CrossEntropyForward(context_, logits, target, scale, nll); });
    const Tensor stats = context_.Empty({rows, 3}, DType::kF32);
    Time("vocabulary_statistics", vocabulary, dtype, logits.bytes(),
         [&] { ops::VocabularyStatistics(context_, logits, target, stats); });
    Time("split_cross_entropy", vocabulary, dtype, 2.0 * logits.bytes(), [&] {
      ops::SplitCrossEntropy(context_, logits, target, target, stats.Reshape({1, rows, 3}), scale, nll);
    });
  }

  void Cosine(int64_t width) {
    const Tensor a = Filled({rows_, width}, DType::kF32), b = Filled({rows_, width}, DType::kF32);
    const Tensor da = Filled({rows_, width}, DType::kF32), scale = Filled({rows_}, DType::kF32);
    const Tensor distance = Filled({rows_}, DType::kF32);
    Time("cosine", width, DType::kF32, 2.0 * a.bytes(),
         [&] { ops::CosineForward(context_, a, b, {}, distance, {}, {}); });
    Time("cosine with gradient", width, DType::kF32, 3.0 * a.bytes(),
         [&] { ops::CosineForward(context_, a, b, scale, distance, da, {}); });
  }

  int threads() const { return context_.device().type == DeviceType::kCpu ? omp_get_max_threads() : 0; }

  void Time(const std::string& operation, int64_t size, DType dtype, double bytes, const std::function<void()>& run) {
    table_.Time(operation + " " + std::to_string(size) + " " + std::string(Name(dtype)), bytes, run,
                {{"threads", threads()}});
  }

  Context context_;
  std::string name_;
  BandwidthTable table_;
  int64_t rows_;
};

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  CLI::App app("Bandwidth of the operations that memory bounds");
  double budget = 0.3;
  int threads = omp_get_max_threads();
  int64_t rows = 0;
  std::string device_name = "cpu", json;
  photon::AddDeviceOption(app, &device_name);
  app.add_option("--seconds", budget, "for each measurement")->capture_default_str();
  app.add_option("--threads", threads, "of the CPU: 1, 2, 4 .. up to this many")->capture_default_str();
  app.add_option("--rows", rows, "of the operands; 0: 16384, or 65536 on a GPU: tensors of 64 MB and more");
  app.add_option("--json", json, "file for the figures");
  CLI11_PARSE(app, argc, argv);
  const auto device = photon::OpenDeviceOrExit(device_name);
  const bool on_cpu = device->device().type == photon::DeviceType::kCpu;
  photon::Bench bench(*device, budget, rows > 0 ? rows : on_cpu ? 16384 : 65536);
  for (int t = 1; t <= (on_cpu ? threads : 1); t *= 2) {
    if (on_cpu) omp_set_num_threads(t);
    bench.Run();
  }
  return bench.Write(json) ? 0 : 1;
}
