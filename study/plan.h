// What a study trains, worked out before anything runs: every model of a size gets the same floating-point operations,
// counted exactly (model/flops.h), and takes as many steps as they pay for. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/run.pb.h"
#include "study/sizes.h"

namespace photon::study {

struct Options {
  std::string train, valid;  // PREFIXes of token files
  int64_t vocab_size = 0;
  std::string out;  // runs get folders in it
  Scale scale;
  std::vector<Kind> kinds;
  std::vector<double> flops;  // of each size; empty: as the scale has them
  double budget = 1;          // times that
  int seeds = 1;              // runs of each model, from other initial weights and in another order of the data
  std::string dtype = "bf16";
};

struct PlannedRun {
  Kind kind = Kind::kVanilla;
  Size size;
  int seed = 1;
  std::string name;  // RunName
  RunConfig config;
  int64_t parameters = 0;
  double step_flops = 0;    // forward and backward
  int64_t step_tokens = 0;  // positions, padding included

  int64_t steps() const { return config.training().steps(); }
  double flops() const { return step_flops * static_cast<double>(steps()); }
  int64_t tokens() const { return step_tokens * steps(); }
};

// A run's folder in Options::out: "photon-d64", "photon-d64-seed2".
std::string RunName(Kind kind, const Size& size, int seed);

// 0.02 / sqrt(D), whatever the kind: 2.5e-3 at D = 64, 8.8e-4 at 512, 4.9e-4 at the paper's 1664 (which takes 3e-4 for
// all its models, in batches 60 times as large as those of the scale "small").
double PeakLearningRate(int width);

// The runs, by size, then kind, then seed; each one's operations differ from the size's budget by at most half a step.
// kInvalidArgument where a budget pays for no step, or there is not one for each size.
absl::StatusOr<std::vector<PlannedRun>> Plan(const Options& options);

// The largest number of parameters over the smallest, of the kinds of one size; the size at which that is most.
struct Spread {
  std::string size;
  double ratio = 1;
};
Spread WidestSpread(const std::vector<PlannedRun>& runs);

}  // namespace photon::study
