// The executor against the simulator, with stages that only sleep: what messages, the loop and waking up cost beside
// what was predicted. Ranks share cores and use none of them. Under mpirun over MPI, alone with --ranks over threads.
//   . launch/mpi_env.sh; mpirun -n 4 build/bench/pipeline [--microbatches N] [--step_s S] [--mb M]
//   build/bench/pipeline --ranks 8
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "bench/timing.h"
#include "core/backend.h"
#include "core/check.h"
#include "parallel/communicator.h"
#include "parallel/pipeline/cut.h"
#include "parallel/pipeline/executor.h"
#include "tests/parallel/pipeline_shapes.h"

namespace photon::bench {
namespace {

using namespace pipeline;

struct Options {
  int ranks = 0;
  int microbatches = 0;
  double step_s = 2;
  double mb = 0.01;
  int rounds = 3;
};

// The stated shape of docs/parallelism.md.
Chain StatedChain(int64_t stream_bytes) {
  Chain chain = photon::testing::StatedChain();
  for (Item& item : chain.items) item.stream_bytes = stream_bytes;
  return chain;
}

class SleepingStage : public Stage {
 public:
  SleepingStage(const Layout& layout, const Context& context, int64_t elements, double scale)
      : layout_(layout), value_(context.Zeros({elements}, DType::kF32)), scale_(scale) {}

  Values Forward(int microbatch, int segment, Values inputs, bool last) override {
    Sleep(layout_.segments()[segment].forward);
    return Values(layout_.outgoing(segment).size(), {value_});
  }
  Values Backward(int microbatch, int segment, Values output_gradients, bool split_weights) override {
    const Segment& s = layout_.segments()[segment];
    Sleep(s.backward + (split_weights ? 0 : s.weights));
    return Values(layout_.incoming(segment).size(), {value_});
  }
  void WeightGradients(int microbatch, int segment) override { Sleep(layout_.segments()[segment].weights); }

 private:
  void Sleep(double cost) const { std::this_thread::sleep_for(std::chrono::duration<double>(cost * scale_)); }

  const Layout& layout_;
  const Tensor value_;
  const double scale_;
};

nlohmann::json Measure(Communicator& comm, Form form, Order order, const Options& options) {
  const auto check = [](const absl::Status& status) { PHOTON_CHECK(status.ok()) << status; };
  const auto elements = static_cast<int64_t>(options.mb * (1 << 20) / 4);
  const int microbatches = options.microbatches > 0 ? options.microbatches : 4 * comm.size();
  const auto layout = CutByCost(StatedChain(4 * elements), form, comm.size());
  check(layout.status());
  const auto schedule = MakeSchedule(*layout, {.order = order, .microbatches = microbatches});
  check(schedule.status());
  const Timeline predicted = Simulate(*layout, *schedule);
  const double scale = options.step_s / predicted.time;
  Arena arena;
  const Context context({}, CpuBackend(), arena);
  SleepingStage stage(*layout, context, elements, scale);
  const EdgeForms forms(layout->edges().size(), {{{elements}, DType::kF32}});
  std::vector<double> seconds;
  for (int round = 0; round < options.rounds; ++round) {
    check(comm.Barrier("start"));
    const double start = Now();
    check(RunSchedule(*layout, *schedule, forms, comm, context, stage).status());
    const auto slowest = AllReduceScalar(comm, "time", Now() - start, Reduction::kMax);
    check(slowest.status());
    seconds.push_back(*slowest);
  }
  if (comm.rank() != 0) return {};
  const double ratio = Median(seconds) / options.step_s;
  std::printf("%-10s%-13s%4d ranks%5d microbatches   predicted %.3f s (%.1f %%), measured %.3f s, ratio %.3f\n",
              Name(form), Name(order), comm.size(), microbatches, options.step_s, 100 * predicted.efficiency(),
              Median(seconds), ratio);
  std::fflush(stdout);
  return {{"form", Name(form)},
          {"order", Name(order)},
          {"microbatches", microbatches},
          {"predicted_s", options.step_s},
          {"measured_s", Median(seconds)},
          {"ratio", ratio}};
}

void Run(Communicator& comm, const Options& options) {
  nlohmann::json results = nlohmann::json::array();
  for (const Form form : {Form::kFolded, Form::kEncoders}) {
    for (const Order order : {Order::kGpipe, Order::kOneFOneB, Order::kSplit}) {
      results.push_back(Measure(comm, form, order, options));
    }
  }
  if (comm.rank() != 0) return;
  const nlohmann::json line = {{"benchmark", "pipeline"},
                               {"ranks", comm.size()},
                               {"over", comm.name()},
                               {"message_mb", options.mb},
                               {"results", results}};
  std::printf("%s\n", line.dump().c_str());
}

}  // namespace
}  // namespace photon::bench

int main(int argc, char** argv) {
  photon::bench::Options options;
  CLI::App app("The pipeline's executor against its simulator");
  app.add_option("--ranks", options.ranks, "so many threads of this process, instead of MPI's ranks");
  app.add_option("--microbatches", options.microbatches, "default: four a rank");
  app.add_option("--step_s", options.step_s, "predicted seconds of a step")->capture_default_str();
  app.add_option("--mb", options.mb, "size of a message, in units of 2^20 bytes")->capture_default_str();
  app.add_option("--rounds", options.rounds)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (options.ranks == 0) {
    photon::bench::Run(**photon::MpiWorld(), options);
    return 0;
  }
  std::vector<std::thread> threads;
  const auto comms = photon::ThreadCommunicators(options.ranks);
  for (const auto& comm : comms) threads.emplace_back([&comm, &options] { photon::bench::Run(*comm, options); });
  for (std::thread& thread : threads) thread.join();
}
