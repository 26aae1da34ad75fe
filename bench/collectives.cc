// Our reduce-scatter and all-reduce against Open MPI's and against a plain ring, f32 sums, in turn: medians, the
// slowest rank counting. The share of the machine's limit is against memcpy: all ranks at once copying the bytes that
// the exchange has to move (a rank sends (n - 1) / n of its tensor in a reduce-scatter, twice that in an all-reduce).
//   . launch/mpi_env.sh; mpirun -n 2 build/bench/collectives [--mb 64 16 1] [--rounds N]
#include <mpi.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "core/check.h"
#include "parallel/communicator.h"

namespace photon::bench {
namespace {

// The textbook ring: n - 1 steps, each sending a block to the right while one comes from the left and is added. A
// block's sum begins at another rank than its neighbour's: the order of the additions is not the ranks'.
class Ring {
 public:
  Ring(float* data, int64_t count) : data_(data), block_(count) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    block_ /= size_;
    arrived_.resize(block_);
  }
  void ReduceScatter() {
    for (int step = 0; step < size_ - 1; ++step) {
      float* mine = Block(rank_ - step - 1);
      Exchange(mine, arrived_.data());
      float* sum = Block(rank_ - step - 2);
      for (int64_t i = 0; i < block_; ++i) sum[i] += arrived_[i];
    }
  }
  void AllReduce() {
    ReduceScatter();
    for (int step = 0; step < size_ - 1; ++step) Exchange(Block(rank_ - step), Block(rank_ - step - 1));
  }

 private:
  float* Block(int index) { return data_ + (index + 2 * size_) % size_ * block_; }
  void Exchange(const float* send, float* receive) {
    const int right = (rank_ + 1) % size_, left = (rank_ + size_ - 1) % size_, count = static_cast<int>(block_);
    MPI_Sendrecv(send, count, MPI_FLOAT, right, 0, receive, count, MPI_FLOAT, left, 0, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
  }

  float* data_;
  int64_t block_;
  int rank_ = 0, size_ = 1;
  std::vector<float> arrived_;
};

struct Side {
  const char* name;
  std::function<void()> run;
  std::vector<double> seconds = {};
  double median() const { return Median(seconds); }
};

// Each side in turn; the time of the slowest rank.
void Interleave(std::vector<Side>& sides, int rounds) {
  for (int round = 0; round <= rounds; ++round) {
    for (Side& side : sides) {
      MPI_Barrier(MPI_COMM_WORLD);
      double seconds = Seconds(side.run);
      MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
      if (round > 0) side.seconds.push_back(seconds);
    }
  }
}

class Bench {
 public:
  Bench(Communicator& world, int rounds) : world_(world), rounds_(rounds) {}

  void Run(int64_t bytes) {
    const int64_t n = world_.size(), part_count = std::max<int64_t>(1, bytes / 4 / n), count = part_count * n;
    std::vector<float> whole(count), part(part_count), copy(count);
    // Sums of whole numbers: exact in any order, so that all sides can be compared.
    const auto fill = [&] {
      for (int64_t i = 0; i < count; ++i) whole[i] = static_cast<float>((i + world_.rank()) % 64);
    };
    const Tensor tensor = Tensor::Wrap(whole.data(), {count}, DType::kF32);
    const Tensor own = Tensor::Wrap(part.data(), {part_count}, DType::kF32);
    Ring ring(whole.data(), count);
    const auto check = [](const absl::Status& status) { PHOTON_CHECK(status.ok()) << status.message(); };
    const int64_t moved = (n - 1) * part_count * 4;
    const auto copying = [&](int64_t total) { std::memcpy(copy.data(), whole.data(), std::min(total, count * 4)); };

    std::vector<Side> scatter = {
        {"ours", [&] { check(world_.ReduceScatter("bench", tensor, own)); }},
        {"Open MPI",
         [&] {
           MPI_Reduce_scatter_block(whole.data(), part.data(), static_cast<int>(part_count), MPI_FLOAT, MPI_SUM,
                                    MPI_COMM_WORLD);
         }},
        {"ring", [&] { ring.ReduceScatter(); }},
        {"memcpy", [&] { copying(moved); }},
    };
    std::vector<Side> reduce = {
        {"ours", [&] { check(world_.AllReduce("bench", tensor, Reduction::kSum)); }},
        {"Open MPI",
         [&] {
           MPI_Allreduce(MPI_IN_PLACE, whole.data(), static_cast<int>(count), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
         }},
        {"ring", [&] { ring.AllReduce(); }},
        {"memcpy", [&] { copying(moved), copying(moved); }},
    };
    for (size_t i = 0; i + 1 < reduce.size(); ++i) {
      fill();
      reduce[i].run();
      for (int64_t j = 0; j < count; ++j) {
        float want = 0;
        for (int r = 0; r < n; ++r) want += static_cast<float>((j + r) % 64);
        PHOTON_CHECK(whole[j] == want) << reduce[i].name << ": element " << j << " is " << whole[j];
      }
    }
    std::fill(whole.begin(), whole.end(), 0.0f);  // sums that go round and round stay finite
    Interleave(scatter, rounds_);
    Interleave(reduce, rounds_);
    Report("reduce-scatter", bytes, scatter);
    Report("all-reduce", bytes, reduce);
  }

  void Finish() const {
    if (world_.rank() != 0) return;
    const nlohmann::json line = {{"benchmark", "collectives"}, {"ranks", world_.size()}, {"results", results_}};
    std::printf("%s\n", line.dump().c_str());
  }

 private:
  void Report(const char* what, int64_t bytes, const std::vector<Side>& sides) {
    const double ours = sides[0].median(), theirs = sides[1].median(), ring = sides[2].median(),
                 copy = sides[3].median();
    results_.push_back({{"collective", what},
                        {"bytes", bytes},
                        {"ours_s", ours},
                        {"open_mpi_s", theirs},
                        {"ring_s", ring},
                        {"memcpy_s", copy},
                        {"ratio", theirs / ours}});
    if (world_.rank() != 0) return;
    std::printf("%-16s%10.3f MB%12.3f ms%12.3f ms%12.3f ms%12.3f ms%10.2f x%10.2f x%10.2f GB/s%8.1f %%\n", what,
                static_cast<double>(bytes) / 1e6, 1e3 * ours, 1e3 * theirs, 1e3 * ring, 1e3 * copy, theirs / ours,
                ring / ours, static_cast<double>(bytes) / ours / 1e9, 100 * copy / ours);
  }

  Communicator& world_;
  const int rounds_;
  nlohmann::json results_ = nlohmann::json::array();
};

}  // namespace
}  // namespace photon::bench

int main(int argc, char** argv) {
  CLI::App app("Reductions over ranks");
  std::vector<double> sizes = {64, 16, 1, 0.0625};
  int rounds = 15;
  app.add_option("--mb", sizes, "sizes of the tensor, in units of 2^20 bytes")->capture_default_str();
  app.add_option("--rounds", rounds)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const std::unique_ptr<photon::Communicator> world = *photon::MpiWorld();
  if (world->rank() == 0) {
    std::printf("%d ranks\n%-16s%13s%15s%15s%15s%15s%12s%12s%15s%10s\n", world->size(), "", "", "ours", "Open MPI",
                "ring", "memcpy", "Open MPI/us", "ring/us", "tensor", "of memcpy");
  }
  photon::bench::Bench bench(*world, rounds);
  for (const double mb : sizes) bench.Run(static_cast<int64_t>(mb * (1 << 20)));
  bench.Finish();
}
