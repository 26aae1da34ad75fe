// Attention: short windows, long streams, decoding against caches, and the rotation of q and k. For each its time, its
// arithmetic against the measured f32 matrix peak, and its memory traffic against a measured copy. Then one JSON line.
#include <omp.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "core/backend.h"
#include "core/cpu/parallel_for.h"
#include "core/matrix_peak.h"

namespace photon {
namespace {

struct Case {
  std::string name;
  int64_t batch, length;
};

class Bench {
 public:
  Bench(double budget, int heads, int kv_heads, int64_t head_dim)
      : budget_(budget), heads_(heads), kv_heads_(kv_heads), head_dim_(head_dim) {}

  void Run(const std::vector<Case>& cases, const std::vector<Case>& caches, int max_threads) {
    for (int threads = 1; threads <= max_threads; threads *= 2) {
      omp_set_num_threads(threads);
      peak_ = MeasureMatrixPeak(context_, DType::kF32);
      copy_ = CopyBandwidth();
      std::printf("\nthreads %d: f32 matrix peak %.0f GFLOP/s, copy %.1f GB/s; heads %d/%d x %ld\n", threads,
                  peak_ / 1e9, copy_ / 1e9, heads_, kv_heads_, static_cast<long>(head_dim_));
      for (const Case& c : cases) {
        for (const DType dtype : {DType::kF32, DType::kBF16}) Train(c, dtype, threads);
      }
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        for (const Case& c : caches) Decode(c.batch, c.length, dtype, threads);
      }
    }
    std::printf("\n%s\n", nlohmann::json({{"bench", "attention"}, {"results", results_}}).dump().c_str());
  }

 private:
  double CopyBandwidth() {  // bytes read and written a second
    const Tensor from = context_.Zeros({int64_t{64} << 20}, DType::kU8), to = context_.Zeros(from.shape(), DType::kU8);
    const double seconds = BestSeconds(budget_, [&] {
      cpu::ParallelFor(from.elements(), 1, [&](int64_t begin, int64_t end) {
        std::memcpy(to.data<uint8_t>() + begin, from.data<uint8_t>() + begin, end - begin);
      });
    });
    return 2.0 * from.bytes() / seconds;
  }

  void Report(const std::string& name, DType dtype, int threads, double seconds, double flop, double bytes) {
    const std::string type(Name(dtype));
    std::printf("%-42s %-5s%10.3f ms%9.1f GFLOP/s %5.1f %%%8.1f GB/s %5.1f %%\n", name.c_str(), type.c_str(),
                1e3 * seconds, flop / seconds / 1e9, 100 * flop / seconds / peak_, bytes / seconds / 1e9,
                100 * bytes / seconds / copy_);
    results_.push_back({{"name", name},
                        {"dtype", type},
                        {"threads", threads},
                        {"seconds", seconds},
                        {"gflops", flop / seconds / 1e9},
                        {"gb_per_s", bytes / seconds / 1e9}});
  }

  // Random values: denormals and equal scores would be faster or slower than what a model computes.
  Tensor Filled(Shape shape, DType dtype) const {
    Tensor t = context_.Empty(std::move(shape), dtype);
    uint32_t state = 1;
    VisitFloat(dtype, [&](auto tag) {
      using T = decltype(tag);
      for (int64_t i = 0; i < t.elements(); ++i) {
        state = state * 1664525u + 1013904223u;
        t.data<T>()[i] = T(static_cast<AccumulateType<T>>(static_cast<float>(state >> 8) * 0x1p-23f - 1));
      }
    });
    return t;
  }

  int64_t q_columns() const { return heads_ * head_dim_; }
  int64_t kv_columns() const { return kv_heads_ * head_dim_; }
  Tensor Q(const Tensor& t) const { return t.Columns(0, q_columns()); }
  Tensor K(const Tensor& t) const { return t.Columns(q_columns(), q_columns() + kv_columns()); }
  Tensor V(const Tensor& t) const { return t.Columns(q_columns() + kv_columns(), t.dim(1)); }

  void Train(const Case& c, DType dtype, int threads) {
    const ops::AttentionShape shape = {.batch = c.batch,
                                       .length = c.length,
                                       .heads = heads_,
                                       .kv_heads = kv_heads_,
                                       .head_dim = head_dim_,
                                       .first_key = {}};
    const int64_t rows = c.batch * c.length;
    const Tensor qkv = Filled({rows, q_columns() + 2 * kv_columns()}, dtype);
    const Tensor dout = Filled({rows, q_columns()}, dtype);
    const Tensor out = context_.Empty(dout.shape(), dtype), dqkv = context_.Empty(qkv.shape(), dtype);
    const Tensor lse = context_.Empty({heads_, rows}, DType::kF32);
    const double forward =
        BestSeconds(budget_, [&] { ops::AttentionForward(context_, Q(qkv), K(qkv), V(qkv), shape, out, lse); });
    const double backward = BestSeconds(budget_, [&] {
      ops::AttentionBackward(context_, dout, Q(qkv), K(qkv), V(qkv), out, lse, shape, Q(dqkv), K(dqkv), V(dqkv));
    });
    // q k^T and p v forward; q k^T again, dout v^T and three gradients backward: 2 d a visible pair each.
    const double product = 1.0 * c.batch * heads_ * c.length * (c.length + 1) * head_dim_;
    const double q_bytes = dout.bytes(), qkv_bytes = qkv.bytes();
    Report(c.name + " forward", dtype, threads, forward, 2 * product, qkv_bytes + q_bytes);
    Report(c.name + " backward", dtype, threads, backward, 5 * product, 2 * qkv_bytes + q_bytes);

    const Tensor table = ops::RopeTable(context_, c.length, head_dim_, 1e4, DType::kF32);
    std::vector<int32_t> positions(rows);
    for (int64_t i = 0; i < rows; ++i) positions[i] = static_cast<int32_t>(i % c.length);
    const Tensor index = context_.FromHost(positions.data(), {rows}, DType::kI32);
    const Tensor rotated = qkv.Columns(0, q_columns() + kv_columns());
    const double rope =
        BestSeconds(budget_, [&] { ops::Rope(context_, rotated, head_dim_, index, table, /*inverse=*/false); });
    Report(c.name + " rotation", dtype, threads, rope, 3.0 * rotated.elements(), 2.0 * rotated.bytes());
  }

  void Decode(int64_t batch, int64_t keys, DType dtype, int threads) {
    const ops::AttentionShape shape = {.heads = heads_, .kv_heads = kv_heads_, .head_dim = head_dim_, .first_key = {}};
    const Tensor q = Filled({batch, q_columns()}, dtype), out = context_.Empty(q.shape(), dtype);
    // So many layers, one after the other, that none is still in the processor's caches when its turn comes again.
    constexpr int64_t kBytes = int64_t{256} << 20;
    const int64_t layer_elements = batch * 2 * keys * kv_columns();
    const int layers = static_cast<int>(kBytes / (layer_elements * static_cast<int64_t>(ByteSize(dtype))) + 1);
    std::vector<Tensor> blocks;
    std::vector<int64_t> bases, capacities(batch, keys);
    for (int64_t i = 0; i < batch; ++i) {
      blocks.push_back(Filled({layers * 2 * keys, kv_columns()}, dtype));
      bases.push_back(reinterpret_cast<int64_t>(blocks.back().raw()));
    }
    const std::vector<int32_t> lengths(batch, static_cast<int32_t>(keys - 1));
    ops::CacheTable table = {.bases = context_.FromHost(bases.data(), {batch}, DType::kI64),
                             .capacities = context_.FromHost(capacities.data(), {batch}, DType::kI64),
                             .lengths = context_.FromHost(lengths.data(), {batch}, DType::kI32),
                             .layer = 0,
                             .rows = 1,
                             .longest = keys};
    const double seconds = BestSeconds(budget_, [&] {
      for (table.layer = 0; table.layer < layers; ++table.layer) ops::CachedAttention(context_, q, table, shape, out);
    });
    Report("decode " + std::to_string(batch) + " rows, " + std::to_string(keys) + " keys each", dtype, threads,
           seconds / layers, 4.0 * batch * keys * q_columns(), 1.0 * layer_elements * ByteSize(dtype));
  }

  const double budget_;
  const int heads_, kv_heads_;
  const int64_t head_dim_;
  double peak_ = 0, copy_ = 0;
  Arena arena_;
  const Context context_{Device{}, CpuBackend(), arena_};
  nlohmann::json results_ = nlohmann::json::array();
};

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  int64_t windows = 65536, window = 5, head_dim = 64;
  std::vector<int64_t> lengths = {256, 1024}, keys = {128, 512, 2048}, sequences = {1, 32};
  int heads = 8, kv_heads = 8, threads = omp_get_max_threads();
  double budget = 0.5;
  CLI::App app("Speed of attention");
  app.add_option("--windows", windows, "number of short windows")->capture_default_str();
  app.add_option("--window", window, "rows of a window")->capture_default_str();
  app.add_option("--lengths", lengths, "lengths of long streams, four at once")->capture_default_str();
  app.add_option("--keys", keys, "positions of caches, one new row each")->capture_default_str();
  app.add_option("--sequences", sequences, "caches at once")->capture_default_str();
  app.add_option("--heads", heads, "query heads")->capture_default_str();
  app.add_option("--kv-heads", kv_heads, "key/value heads")->capture_default_str();
  app.add_option("--head-dim", head_dim, "width of a head")->capture_default_str();
  app.add_option("--threads", threads, "largest number of threads; its halves are measured too")->capture_default_str();
  app.add_option("--seconds", budget, "time for each measurement")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  std::vector<photon::Case> cases = {
      {std::to_string(windows) + " windows of " + std::to_string(window), windows, window}};
  for (const int64_t length : lengths) cases.push_back({"4 streams of " + std::to_string(length), 4, length});
  std::vector<photon::Case> caches;
  for (const int64_t batch : sequences) {
    for (const int64_t length : keys) caches.push_back({"", batch, length});
  }
  photon::Bench(budget, heads, kv_heads, head_dim).Run(cases, caches, threads);
  return 0;
}
