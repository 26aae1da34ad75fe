#include "plan/cpu_machine.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/available_memory.h"
#include "core/backend.h"
#include "core/matrix_peak.h"
#include "core/time.h"
#include "parallel/communicator.h"

namespace photon {
namespace {

// Body(communicator) on `ranks` threads.
template <typename Body>
void OnRanks(int ranks, const Body& body) {
  const std::vector<std::unique_ptr<Communicator>> comms = ThreadCommunicators(ranks);
  std::vector<std::thread> threads;
  const int width = omp_get_max_threads();
  for (const auto& comm : comms) {
    threads.emplace_back([&, width] {
      omp_set_num_threads(width);
      body(*comm);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Seconds of a sum of `elements` numbers over all ranks: of the fastest, as operations are measured.
double SumSeconds(Communicator& comm, int64_t elements) {
  constexpr int kTimes = 11;
  std::vector<float> values(elements);
  const Tensor tensor = Tensor::Wrap(values.data(), {elements}, DType::kF32);
  double fastest = 1e30;
  for (int i = 0; i < kTimes; ++i) {
    const double start = Now();
    PHOTON_CHECK(comm.AllReduce("measuring", tensor, Reduction::kSum).ok());
    fastest = std::min(fastest, Now() - start);
  }
  return fastest;
}

}  // namespace

Machine MeasureCpu(int ranks, DType dtype) {
  Machine machine;
  dry::DeviceFigures& figures = machine.figures;
  figures.name = "cpu";
  figures.source = "measured on this machine";
  figures.memory = static_cast<double>(std::max<int64_t>(AvailableMemory(), 0)) / ranks;
  figures.devices_per_node = ranks;
  figures.bandwidth_share = figures.product_share = figures.attention_share = 1;
  figures.launch = 0;
  OnRanks(ranks, [&](Communicator& comm) {
    Arena arena;
    const double peak = MeasureMatrixPeak(Context({}, CpuBackend(), arena), dtype);
    constexpr int64_t kFew = 16, kMany = 4 << 20;
    const double few = comm.size() > 1 ? SumSeconds(comm, kFew) : 0,
                 many = comm.size() > 1 ? SumSeconds(comm, kMany) : 0;
    if (comm.rank() != 0) return;
    (dtype == DType::kBF16 ? figures.peak_bf16 : figures.peak_f32) = peak;
    if (comm.size() == 1) return;
    // As LinkTime has it: rounds of latency, and the bytes that a rank sends.
    figures.link_latency = few / (2 * std::ceil(std::log2(comm.size())));
    figures.link_bandwidth = 4.0 * kMany * 2 * (comm.size() - 1) / comm.size() / std::max(many - few, 1e-9);
  });
  if (ranks == 1) figures.link_bandwidth = 1;  // nothing is sent
  figures.network_bandwidth = figures.link_bandwidth;
  figures.network_latency = figures.link_latency;
  machine.time = std::make_shared<dry::MeasuredTime>(ranks);
  machine.threads = 1;  // what is measured must not be disturbed
  return machine;
}

}  // namespace photon
