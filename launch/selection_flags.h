// The options of `photon generate` that choose among a prompt's continuations.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "inference/generate_options.h"
#include "inference/selection.h"

namespace photon {

struct SelectionFlags {
  int64_t best_of = 0;  // 0: as many as --n
  std::string vote;     // empty: none
};
// `flags` outlives the parsing.
void AddSelectionFlags(CLI::App& command, SelectionFlags* flags);

// What is shown of so many continuations as are generated.
struct Selection {
  int64_t count = 1;
  int32_t log_probabilities = -1;     // that were asked for, beside those that choosing needs
  std::optional<AnswerPattern> vote;  // then one is shown: the best with the answer that most give
};
// Has `options` generate as many as are needed, with the log-probabilities that choosing needs. kInvalidArgument naming
// the option.
absl::StatusOr<Selection> Resolve(const SelectionFlags& flags, GenerateOptions* options);

}  // namespace photon
