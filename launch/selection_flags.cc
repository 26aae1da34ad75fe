#include "launch/selection_flags.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "launch/commands.h"
#include "launch/sampling_flags.h"

namespace photon {

void AddSelectionFlags(CLI::App& command, SelectionFlags* flags) {
  command
      .add_option("--best-of", flags->best_of,
                  "Generate so many continuations, and show the --n with the best mean log-probability")
      ->check(Between(1, kMostOfflineContinuations));
  command
      .add_option("--vote", flags->vote,
                  "Of --n continuations show the best with the answer that most give: the last match of this "
                  "regular expression, of its first group where it has one")
      ->check([](const std::string& text) { return text.empty() ? "is empty: give a regular expression" : ""; });
}

absl::StatusOr<Selection> Resolve(const SelectionFlags& flags, GenerateOptions* options) {
  Selection selection = {.count = options->continuations, .log_probabilities = options->log_probabilities};
  if (!flags.vote.empty()) {
    if (flags.best_of > 0) return absl::InvalidArgumentError("--vote and --best-of: give one of them");
    absl::StatusOr<AnswerPattern> pattern = AnswerPattern::Compile(flags.vote);
    if (!pattern.ok()) return absl::InvalidArgumentError(absl::StrCat("--vote: ", pattern.status().message()));
    selection.vote = *std::move(pattern);
    selection.count = 1;
  }
  if (flags.best_of > 0) {
    if (flags.best_of < selection.count) {
      return absl::InvalidArgumentError(
          absl::StrCat("--best-of is ", flags.best_of, ", less than --n, ", selection.count, ": raise it"));
    }
    options->continuations = flags.best_of;
  }
  const bool chooses = selection.vote.has_value() || selection.count < options->continuations;
  if (chooses) options->log_probabilities = std::max(options->log_probabilities, 0);
  return selection;
}

}  // namespace photon
