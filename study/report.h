// How a study is shown: the table of what it will train, and its results as JSON, as a table and as a picture.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "study/measure.h"
#include "study/plan.h"
#include "study/run_state.h"

namespace photon::study {

// A model of one size and kind in one mode of generation.
struct Point {
  Kind kind;
  std::string size;
  GenerationMode mode;
  int64_t parameters = 0;
  std::vector<double> losses;  // nats per token, a seed each
  Speed speed;                 // of the first seed's model: weights don't matter to it
  double loss() const;         // their mean
};

struct Results {
  Options options;
  std::string device;  // in words
  int64_t batch = 0;   // sequences at once, for the speed
  std::vector<PlannedRun> runs;
  std::vector<RunState> states;
  std::vector<Point> points;
  double bytes_per_token = 0;  // of text, of the tokens that the losses are means over; 0: unknown

  double Disturbance() const;  // the most of the points' speeds
  // Of a loss in nats per token.
  double BitsPerByte(double loss) const;
};

// A line for each run: parameters, work, tokens, and how far it is. Ends with the time left, where that is known.
std::string PlanTable(const std::vector<PlannedRun>& runs, const std::vector<RunState>& states);

std::string ToJson(const Results& results);
std::string ToMarkdown(const Results& results);
// FOLDER/study.png, loss against TPM. kUnavailable: no gnuplot.
absl::Status Draw(const Results& results, const std::string& folder);

}  // namespace photon::study
