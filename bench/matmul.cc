// Matrix products: the measured peak per dtype and number of threads, and how near to it the products of a linear layer
// come, on square shapes and on the model's. A table for people, then one JSON line.
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "core/backend.h"
#include "core/matrix_peak.h"

namespace photon {
namespace {

struct Layer {
  std::string name;
  int64_t rows, in, out;
};

class Bench {
 public:
  explicit Bench(double budget) : budget_(budget) { few_rows_.SetBatchInvariant(true); }

  void Run(const std::vector<Layer>& layers, const std::vector<Layer>& decode, int max_threads) {
    for (int threads = 1; threads <= max_threads; threads *= 2) {
      omp_set_num_threads(threads);
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        const double peak = MeasureMatrixPeak(context_, dtype);
        std::printf("\n%s, threads %d: peak %.0f GFLOP/s\n%-24s%22s%22s%22s\n", Label(dtype).c_str(), threads,
                    peak / 1e9, "rows x in -> out", "y = x W^T", "dx = dy W", "dW += dy^T x");
        Report({{"dtype", Label(dtype)}, {"threads", threads}, {"peak_gflops", peak / 1e9}});
        for (const Layer& layer : layers) Train(layer, dtype, threads, peak);
        for (const Layer& layer : decode) Decode(layer, dtype, threads);
      }
    }
    std::printf("\n%s\n", nlohmann::json({{"bench", "matmul"}, {"results", results_}}).dump().c_str());
  }

 private:
  static std::string Label(DType dtype) { return std::string(Name(dtype)); }
  void Report(nlohmann::json result) { results_.push_back(std::move(result)); }

  double Seconds(const Tensor& a, bool ta, const Tensor& b, bool tb, float beta, const Tensor& c) {
    return BestSeconds(budget_, [&] { ops::MatMul(context_, a, ta, b, tb, Tensor(), beta, c); });
  }

  void Train(const Layer& l, DType dtype, int threads, double peak) {
    const Tensor x = context_.Zeros({l.rows, l.in}, dtype), w = context_.Zeros({l.out, l.in}, dtype);
    const Tensor y = context_.Zeros({l.rows, l.out}, dtype), dw = context_.Zeros({l.out, l.in}, DType::kF32);
    const double flop = 2.0 * l.rows * l.in * l.out;
    const double rates[] = {flop / Seconds(x, false, w, true, 0, y), flop / Seconds(y, false, w, false, 0, x),
                            flop / Seconds(y, true, x, false, 1, dw)};
    std::printf("%-24s", ShapeOf(l).c_str());
    for (double rate : rates) std::printf("%9.0f GF/s %5.1f %%", rate / 1e9, 100 * rate / peak);
    std::printf("  %s\n", l.name.c_str());
    Report({{"dtype", Label(dtype)},
            {"threads", threads},
            {"layer", l.name},
            {"rows", l.rows},
            {"in", l.in},
            {"out", l.out},
            {"forward_gflops", rates[0] / 1e9},
            {"dx_gflops", rates[1] / 1e9},
            {"dw_gflops", rates[2] / 1e9}});
  }

  // A few rows read the whole weight once: what counts is how fast it streams, which is why layers follow on each other
  // here, more of them than the processor's caches hold. Both kernels, whichever a model would get: ours for few rows,
  // and oneDNN, which gets the weights as [in, out], as ours does not take them.
  void Decode(const Layer& l, DType dtype, int threads) {
    constexpr int64_t kBytes = int64_t{192} << 20;
    const int64_t layers = kBytes / (l.in * l.out * static_cast<int64_t>(ByteSize(dtype))) + 1;
    const Tensor x = context_.Zeros({l.rows, l.in}, dtype), w = context_.Zeros({layers * l.out, l.in}, dtype);
    const Tensor y = context_.Zeros({l.rows, l.out}, dtype);
    const Tensor transposed = w.Reshape({layers * l.in, l.out});
    const auto measure = [&](const Tensor& weights, bool transpose, int64_t rows) {
      return BestSeconds(budget_,
                         [&] {
                           for (int64_t i = 0; i < layers; ++i) {
                             ops::MatMul(few_rows_, x, false, weights.Rows(i * rows, (i + 1) * rows), transpose,
                                         Tensor(), 0, y);
                           }
                         }) /
             static_cast<double>(layers);
    };
    const double ours = measure(w, true, l.out), onednn = measure(transposed, false, l.in);
    const double gflop = 2e-9 * l.rows * l.in * l.out, gigabytes = 1e-9 * l.in * l.out * ByteSize(dtype) / ours;
    std::printf("%-24s%9.1f GF/s %5.1f GB/s of weights; oneDNN %9.1f GF/s  %s\n", ShapeOf(l).c_str(), gflop / ours,
                gigabytes, gflop / onednn, l.name.c_str());
    Report({{"dtype", Label(dtype)},
            {"threads", threads},
            {"layer", l.name},
            {"rows", l.rows},
            {"in", l.in},
            {"out", l.out},
            {"few_rows_gflops", gflop / ours},
            {"onednn_gflops", gflop / onednn},
            {"weight_gb_per_s", gigabytes}});
  }

  static std::string ShapeOf(const Layer& l) {
    return std::to_string(l.rows) + " x " + std::to_string(l.in) + " -> " + std::to_string(l.out);
  }

  const double budget_;
  Arena arena_;
  const Context context_{Device{}, CpuBackend(), arena_};
  Context few_rows_{Device{}, CpuBackend(), arena_};  // all products by the kernel for few rows
  nlohmann::json results_ = nlohmann::json::array();
};

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  int64_t width = 512, ffn = 1408, vocabulary = 8192, tokens = 1024;
  int threads = omp_get_max_threads();
  double budget = 0.1;
  CLI::App app("Speed of matrix products");
  app.add_option("--width", width, "model width D")->capture_default_str();
  app.add_option("--ffn", ffn, "feed-forward width F")->capture_default_str();
  app.add_option("--vocabulary", vocabulary, "vocabulary size V")->capture_default_str();
  app.add_option("--tokens", tokens, "tokens of a microbatch")->capture_default_str();
  app.add_option("--threads", threads, "largest number of threads; its halves are measured too")->capture_default_str();
  app.add_option("--seconds", budget, "time for each product")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  // The level-1 decoder with C = 4 and R = 2 has 5 positions for 4 tokens; the level-1 encoder has one.
  const int64_t decoder_rows = tokens * 5 / 4, encoder_rows = tokens / 4;
  const std::vector<photon::Layer> layers = {
      {"square", 1024, 1024, 1024},
      {"square", 2048, 2048, 2048},
      {"decoder 1 q, k, v", decoder_rows, width, 3 * width},
      {"decoder 1 attention output", decoder_rows, width, width},
      {"decoder 1 gate, up", decoder_rows, width, 2 * ffn},
      {"decoder 1 down", decoder_rows, ffn, width},
      {"encoder 1 q, k, v", encoder_rows, width, 3 * width},
      {"encoder 1 gate, up", encoder_rows, width, 2 * ffn},
      {"head", tokens, width, vocabulary},
  };
  std::vector<photon::Layer> decode;
  for (const int64_t rows : {1, 2, 4, 8, 16, 24, 32, 64, 96, 128})
    decode.push_back({"decoding: gate, up", rows, width, 2 * ffn});
  for (const int64_t rows : {1, 4, 16, 32}) decode.push_back({"decoding: head", rows, width, vocabulary});
  photon::Bench(budget).Run(layers, decode, threads);
  return 0;
}
