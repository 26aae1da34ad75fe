// The program's subcommands. Each declares its options on a CLI11 app and leaves what to run; nothing runs while
// parsing.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace photon {

using Run = std::function<absl::Status()>;

// A new subcommand of `parent` with --help and --version. Where the command line chooses it, `run` is left in `*chosen`
// when parsing is done. Its options live in what `run` captures (a shared_ptr), which the app's options point into.
CLI::App* AddCommand(CLI::App& parent, const std::string& name, const std::string& description, Run* chosen, Run run);

void AddPrepareCommand(CLI::App& app, Run* chosen);
void AddTrainCommand(CLI::App& app, Run* chosen);
void AddSubmitCommand(CLI::App& app, Run* chosen);
void AddPlanCommand(CLI::App& app, Run* chosen);
void AddGenerateCommand(CLI::App& app, Run* chosen);
void AddScoreCommand(CLI::App& app, Run* chosen);
void AddBenchCommands(CLI::App& app, Run* chosen);
void AddEvalCommand(CLI::App& app, Run* chosen);
void AddServeCommand(CLI::App& app, Run* chosen);
void AddStudyCommand(CLI::App& app, Run* chosen);
// For check(): an integer of at least `least`. CLI11's own NonNegativeNumber prints the range of a double.
CLI::Validator AtLeast(int64_t least);
CLI::Validator NotNegative();                         // a number, of 0 or more
CLI::Validator Positive();                            // a number above 0
constexpr int kMostRanks = 1 << 20;  // of a layout that is judged, or queued
CLI::Validator Unsigned();                            // of 64 bits
CLI::Validator Between(int64_t least, int64_t most);  // both included
// For transform(): an amount of memory, "2GiB", to its number of bytes.
CLI::Validator Bytes();

void AddCheckpointCommands(CLI::App& app, Run* chosen);

}  // namespace photon
