// `photon generate --input`: JSON lines of prompts in, a JSON line of continuations out for each, in order. Prompts are
// continued many at once (inference/engine/).
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "inference/engine/engine.h"
#include "inference/loaded_model.h"
#include "launch/selection_flags.h"

namespace photon {

struct GenerateLinesOptions {
  std::string input;         // a file of JSON lines, "-": stdin
  bool skip_errors = false;  // go on after a line that can't be continued, and count it
  GenerateOptions generate;  // line i's seed is this one's plus i - 1
  Selection selection;
  EngineOptions engine;
};

// Results are written as soon as all before them are. kInvalidArgument naming file and line, unless errors are skipped;
// kFailedPrecondition for texts where the checkpoint has no tokenizer.
absl::Status GenerateLines(const LoadedModel& loaded, const GenerateLinesOptions& options, std::ostream& out);

}  // namespace photon
