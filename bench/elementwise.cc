// Operations bound by memory (norm, gate, losses): GB/s, and the share of the bandwidth that a triad reaches in the
// same program. Bytes are those that must move: operands read once, results written once. A table for people, then one
// JSON line.
#include <omp.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/timing.h"
#include "core/backend.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon {
namespace {

// a = b + 3 c on arrays three times the size of a last-level cache of 32 MiB.
double TriadBandwidth(const Context& context, double budget) {
  const int64_t n = 3 << 23;
  const Tensor a = context.Zeros({n}, DType::kF32), b = context.Zeros({n}, DType::kF32),
               c = context.Zeros({n}, DType::kF32);
  const double seconds = BestSeconds(budget, [&] {
    cpu::ParallelFor(n / 16, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * 16; i < end * 16; i += 16) {
        cpu::Store(a.data<float>() + i, cpu::Load(b.data<float>() + i) + 3.0f * cpu::Load(c.data<float>() + i));
      }
    });
  });
  return 12.0 * n / seconds;
}

class Bench {
 public:
  Bench(double budget, int64_t rows) : budget_(budget), rows_(rows) {}

  void Run(int threads) {
    omp_set_num_threads(threads);
    bandwidth_ = TriadBandwidth(context_, budget_);
    std::printf("\nthreads %d: triad %.1f GB/s\n%-34s%10s%10s%10s\n", threads, bandwidth_ / 1e9, "", "ms", "GB/s",
                "share");
    Report("triad", 0, bandwidth_);
    for (const DType narrow : {DType::kF32, DType::kBF16}) {
      Norm(512, narrow);
      SwiGlu(1408, narrow);
      CrossEntropy(16384, narrow);
    }
    Cosine(512);
  }
  void PrintJson() const {
    std::printf("\n%s\n", nlohmann::json({{"bench", "elementwise"}, {"results", results_}}).dump().c_str());
  }

 private:
  // Every value 0.5 of that type: speed does not depend on values here.
  Tensor Filled(Shape shape, DType dtype) const {
    Tensor t = context_.Empty(std::move(shape), dtype);
    VisitFloat(dtype, [&](auto tag) {
      using T = decltype(tag);
      std::fill_n(t.data<T>(), t.elements(), T(AccumulateType<T>(0.5)));
    });
    return t;
  }

  void Norm(int64_t width, DType narrow) {
    const Shape shape = {rows_, width};
    const Tensor x = Filled(shape, DType::kF32), delta = Filled(shape, narrow), weight = Filled({width}, DType::kF32);
    const Tensor sum = Filled(shape, DType::kF32), y = Filled(shape, narrow), rstd = Filled({rows_}, DType::kF32);
    const Tensor dweight = Filled({width}, DType::kF32);
    const double wide_bytes = x.bytes(), bytes = y.bytes();
    Time("rms_norm", narrow, 2 * wide_bytes + 2 * bytes,
         [&] { ops::RmsNormForward(context_, x, delta, weight, 1e-5, sum, y, rstd); });
    // As in a layer: dx in the memory of dsum.
    Time("rms_norm_backward", narrow, 3 * wide_bytes + 2 * bytes,
         [&] { ops::RmsNormBackward(context_, y, sum, weight, rstd, x, x, delta, dweight); });
  }

  void SwiGlu(int64_t width, DType dtype) {
    const Tensor gate_up = Filled({rows_, 2 * width}, dtype), y = Filled({rows_, width}, dtype);
    Time("swiglu", dtype, 3.0 * y.bytes(), [&] { ops::SwiGluForward(context_, gate_up, y); });
    Time("swiglu_backward", dtype, 5.0 * y.bytes(), [&] { ops::SwiGluBackward(context_, y, gate_up, gate_up); });
  }

  void CrossEntropy(int64_t vocabulary, DType dtype) {
    const int64_t rows = rows_ / 8;
    const Tensor logits = Filled({rows, vocabulary}, dtype), nll = Filled({rows}, DType::kF32);
    const Tensor scale = Filled({rows}, DType::kF32), target = context_.Zeros({rows}, DType::kI32);
    Time("cross_entropy", dtype, logits.bytes(), [&] { ops::CrossEntropyForward(context_, logits, target, {}, nll); });
    Time("cross_entropy with gradient", dtype, 2.0 * logits.bytes(),
         [&] { ops::CrossEntropyForward(context_, logits, target, scale, nll); });
  }

  void Cosine(int64_t width) {
    const Tensor a = Filled({rows_, width}, DType::kF32), b = Filled({rows_, width}, DType::kF32);
    const Tensor da = Filled({rows_, width}, DType::kF32), scale = Filled({rows_}, DType::kF32);
    const Tensor distance = Filled({rows_}, DType::kF32);
    Time("cosine", DType::kF32, 2.0 * a.bytes(), [&] { ops::CosineForward(context_, a, b, {}, distance, {}, {}); });
    Time("cosine with gradient", DType::kF32, 3.0 * a.bytes(),
         [&] { ops::CosineForward(context_, a, b, scale, distance, da, {}); });
  }

  void Time(const std::string& name, DType dtype, double bytes, const std::function<void()>& run) {
    const double seconds = BestSeconds(budget_, run);
    Report(name + " " + std::string(Name(dtype)), seconds, bytes / seconds);
  }

  void Report(const std::string& name, double seconds, double bandwidth) {
    if (seconds > 0) {
      std::printf("%-34s%10.2f%10.1f%9.0f%%\n", name.c_str(), seconds * 1e3, bandwidth / 1e9,
                  100 * bandwidth / bandwidth_);
    }
    results_.push_back({{"name", name}, {"threads", omp_get_max_threads()}, {"gb_per_s", bandwidth / 1e9}});
  }

  Arena arena_;
  Context context_{Device{}, CpuBackend(), arena_};
  double budget_;
  int64_t rows_;
  double bandwidth_ = 0;
  nlohmann::json results_ = nlohmann::json::array();
};

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  CLI::App app("Bandwidth of the operations that memory bounds");
  double budget = 0.3;
  int threads = omp_get_max_threads();
  int64_t rows = 16384;
  app.add_option("--seconds", budget, "for each measurement")->capture_default_str();
  app.add_option("--threads", threads, "1, 2, 4 .. up to this many")->capture_default_str();
  app.add_option("--rows", rows)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  photon::Bench bench(budget, rows);
  for (int t = 1; t <= threads; t *= 2) bench.Run(t);
  bench.PrintJson();
}
