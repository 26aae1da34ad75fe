// Trains one model under many layouts, on ranks that are threads, and keeps what has to be the same under all of them.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "tests/support/config_fields.h"
#include "tests/support/tensors.h"
#include "tests/train/training_run.h"

namespace photon::testing {

// A layout: its ranks, and config fields ("parallel.tp=2", ..).
struct Layout {
  int ranks = 1;
  std::vector<std::string> fields;
};

struct LayoutOutcome {
  std::vector<double> losses, norms;  // of each step
  // Of the first step, before clipping, whole tensors; none where they are shared out.
  std::map<std::string, std::vector<double>> gradients;
  std::vector<absl::Status> statuses;  // of each rank
};

// Gathers the ranks' parts of a tensor into one; parts that several ranks hold must be the same.
class WholeTensors {
 public:
  explicit WholeTensors(bool expect_alike) : expect_alike_(expect_alike) {}
  void Add(const Parameter& p, const std::vector<double>& values) {
    absl::MutexLock lock(&mutex_);
    std::vector<double>& whole = tensors_[p.spec.name];
    std::vector<char>& there = there_[p.spec.name];
    whole.resize(p.spec.shape.elements());
    there.resize(whole.size());
    for (int64_t i = 0; i < p.elements(); ++i) {
      const int64_t at = IndexInWhole(p, i);
      if (there[at] && expect_alike_) {
        EXPECT_EQ(whole[at], values[i]) << p.spec.name << ": ranks differ in element " << at;
      }
      whole[at] = values[i];
      there[at] = 1;
    }
  }
  std::map<std::string, std::vector<double>> Take() {
    for (const auto& [name, there] : there_) {
      EXPECT_EQ(std::count(there.begin(), there.end(), 0), 0) << name << " is not whole";
    }
    return std::move(tensors_);
  }

 private:
  static int64_t IndexInWhole(const Parameter& p, int64_t i) {
    int64_t index = 0, stride = 1;
    for (int d = p.spec.shape.rank() - 1; d >= 0; --d) {
      index += (p.local.offset[d] + i % p.local.shape[d]) * stride;
      i /= p.local.shape[d];
      stride *= p.spec.shape[d];
    }
    return index;
  }

  const bool expect_alike_;
  absl::Mutex mutex_;
  std::map<std::string, std::vector<double>> tensors_;
  std::map<std::string, std::vector<char>> there_;
};

// `steps` steps under the layout. `wrap`: what the ranks' world goes through, if anything. `expect_alike`: what several
// ranks hold has to be the same on all of them.
using WrapWorld = std::function<std::unique_ptr<Communicator>(std::unique_ptr<Communicator>)>;
inline LayoutOutcome TrainUnder(const RunConfig& base, const Layout& layout,
                                const std::shared_ptr<const TokenFile>& tokens, int64_t steps,
                                const WrapWorld& wrap = {}, bool expect_alike = true) {
  const RunConfig config = WithFields(base, layout.fields);
  LayoutOutcome outcome;
  outcome.statuses.resize(layout.ranks);
  if (const absl::Status valid = ValidateRun(config, layout.ranks); !valid.ok()) {
    ADD_FAILURE() << valid;
    return outcome;
  }
  WholeTensors gradients(expect_alike);
  std::vector<std::unique_ptr<Communicator>> comms = ThreadCommunicators(layout.ranks);
  std::vector<std::thread> threads;
  for (int r = 0; r < layout.ranks; ++r) {
    threads.emplace_back([&, r] {
      omp_set_num_threads(1);  // of this rank: the ranks share the cores
      const std::unique_ptr<Communicator> world = wrap ? wrap(std::move(comms[r])) : std::move(comms[r]);
      RankRun run(config, *world, tokens);
      const std::vector<std::unique_ptr<Parameter>>& parameters = run.trainer().model().parameters().parameters();
      outcome.statuses[r] = run.TrainTo(1);
      if (!outcome.statuses[r].ok()) return;
      // Where state is shared out nobody has whole sums; the norm is of all of them.
      if (!run.trainer().model().parameters().sharded()) {
        for (const auto& p : parameters) gradients.Add(*p, ToDoubles(run.context(), p->gradient));
      }
      outcome.statuses[r] = run.TrainTo(steps);
      if (r != 0) return;
      for (const StepMetrics& m : run.steps()) {
        outcome.losses.push_back(m.loss);
        outcome.norms.push_back(m.grad_norm);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  outcome.gradients = gradients.Take();
  return outcome;
}

}  // namespace photon::testing
