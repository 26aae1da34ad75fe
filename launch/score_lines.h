// `photon score --input`: JSON lines in, a JSON line out for each, in order.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "inference/loaded_model.h"
#include "inference/score.h"

namespace photon {

struct ScoreLinesOptions {
  std::string input;            // a file of JSON lines, "-": stdin
  bool summary = false;         // leave the single log-probabilities out
  bool skip_errors = false;     // go on after a line that can't be scored, and count it
  int64_t batch_tokens = 2048;  // lines scored together hold so many at most; 0: each alone and answered at once
  ScoreOptions score;
};

// Writes the scores of one line after the other to `out`, as they come. Lines are looked at a few batches ahead, so
// that those of like length go together. kInvalidArgument naming file and line, unless errors are skipped;
// kFailedPrecondition for texts where the checkpoint has no tokenizer, which is no line's fault.
absl::Status ScoreLines(const LoadedModel& loaded, const ScoreLinesOptions& options, std::ostream& out);

}  // namespace photon
