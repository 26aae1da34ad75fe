// What a run tells: metrics.jsonl for machines, a line for people, a picture of the loss.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "core/status.h"

namespace photon {

// One step. Times are seconds of this rank.
struct StepMetrics {
  int64_t step = 0;
  double loss = 0;  // ce + alpha * rec
  double ce = 0;    // nats per scored token
  double rec = 0;   // L_rec, unweighted
  double lr = 0;
  double grad_norm = 0;  // before clipping
  double tokens = 0;     // real tokens of the step, all ranks
  double tokens_per_s = 0;
  double mfu = 0;           // share of the measured matrix peak of all ranks
  double memory_bytes = 0;  // tensor memory of this rank, peak
  double step_s = 0;
  double data_s = 0;           // waiting for the batch
  double compute_s = 0;        // forward and backward
  double communication_s = 0;  // gradient reduction
  double optimizer_s = 0;
  std::string skipped = "";  // reason; empty: the update was applied
};

// The validation loss of one source of several.
struct SourceLoss {
  std::string name;
  double loss = 0;
};

// Writes from rank 0 only.
class MetricsLog {
 public:
  // Opens run_dir/metrics.jsonl. Lines of steps after `resumed_step` (a run that was killed after its last save) are
  // dropped; the others stay.
  static absl::StatusOr<MetricsLog> Open(const std::string& run_dir, int64_t resumed_step);

  // A line that can't be written (disk full) is lost and told; the file stays readable and later lines go on.
  void WriteStep(const StepMetrics& metrics);
  // `sources`: where there are several.
  void WriteValidation(int64_t step, double loss, int64_t tokens, const std::vector<SourceLoss>& sources = {});

 private:
  void WriteLine(const std::string& json);

  std::string path_;
  std::ofstream file_;
  bool failing_ = false;  // and said so
};

// "step 120/1000  loss 5.123  lr 3.0e-04  |g| 0.81  12.3k tok/s  MFU 41 %  3m20s left"
std::string StepLine(const StepMetrics& metrics, int64_t steps, double seconds_left);

// "step 120  validation loss 4.2000 nats per token over 640 tokens; 30 % under their unigram entropy 6.0000", or above.
std::string ValidationLine(int64_t step, double loss, int64_t tokens, double unigram_entropy);

// Draws run_dir/loss.png from metrics.jsonl with gnuplot: training loss, validation loss, and `unigram_entropy` as a
// level where it is positive. kUnavailable where gnuplot is absent or fails.
absl::Status PlotLoss(const std::string& run_dir, double unigram_entropy);

}  // namespace photon
