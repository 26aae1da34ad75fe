#include "launch/program.h"

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <exception>
#include <iostream>
#include <limits>
#include <new>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "configs/nearest.h"
#include "core/allocator.h"
#include "core/checked_backend.h"
#include "core/device.h"
#include "core/human.h"
#include "launch/commands.h"
#include "launch/environment.h"
#include "launch/exit_code.h"
#include "launch/threads.h"

namespace photon {
namespace {

constexpr char kVersion[] = "photon " PHOTON_VERSION;
constexpr char kDescription[] = "Trains and serves PHOTON hierarchical language models.";

// "photon checkpoint verify": as far as the command line was understood.
std::string ChosenName(const CLI::App& app) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  return chosen.empty() ? app.get_name() : absl::StrCat(app.get_name(), " ", ChosenName(*chosen.front()));
}

// Where the command line names a subcommand that doesn't exist: what to say. Empty otherwise.
std::string UnknownCommand(const CLI::App& app, int argc, char** argv) {
  const CLI::App* at = &app;
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    const std::vector<const CLI::App*> commands = at->get_subcommands([](const CLI::App*) { return true; });
    if (commands.empty()) return "";
    std::vector<std::string> names;
    const CLI::App* chosen = nullptr;
    for (const CLI::App* command : commands) {
      names.push_back(command->get_name());
      if (command->get_name() == argv[i]) chosen = command;
    }
    if (chosen == nullptr) return absl::StrCat("no command \"", argv[i], "\"", DidYouMean(argv[i], names));
    at = chosen;
  }
  return "";
}

const CLI::App& Innermost(const CLI::App& app) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  return chosen.empty() ? app : Innermost(*chosen.front());
}

// For an option whose value is none of its type.
std::string ExplainConversion(const CLI::App& app, const CLI::ParseError& error) {
  for (const CLI::Option* option : Innermost(app).get_options()) {
    if (!absl::StrContains(error.what(), absl::StrCat(" ", option->get_name(), " = "))) continue;
    const bool fraction = absl::StrContains(option->get_type_name(), "FLOAT");
    return absl::StrCat(option->get_name(), ": \"", absl::StrJoin(option->results(), " "), "\" is not ",
                        fraction ? "a number" : "an integer that fits");
  }
  return error.what();
}

// CLI11's own words, and for an option that doesn't exist the nearest one that does.
std::string Explain(const CLI::App& app, const CLI::ParseError& error) {
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) return ExplainConversion(app, error);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr) return error.what();
  const std::vector<std::string> extras = app.remaining(/*recurse=*/true);
  if (extras.empty() || !absl::StartsWith(extras.front(), "--")) return error.what();
  const std::string extra = extras.front().substr(0, extras.front().find('='));
  std::vector<std::string> names;
  for (const CLI::Option* option : Innermost(app).get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return absl::StrCat("no option \"", extra, "\"", DidYouMean(extra, names));
}

// The command whose processes are ranks of one job; of others, a launcher may start several that know nothing of each
// other.
constexpr char kOfRanks[] = "photon train";

// One message from a job, not one a rank: bad input looks the same to all. A failure that may be of one rank alone
// (a bug, a transport, `thrown`: memory) is told by whoever meets it.
void Report(const std::string& command, const absl::Status& status, bool thrown = false) {
  const int rank = LauncherRank(ProcessEnvironment());
  const int code = ExitCode(status);
  if (command == kOfRanks && rank != 0 && !thrown && code != kExitBug && code != kExitDevice) {
    // The launcher ends all at the first that fails: rank 0 is to speak before.
    absl::SleepFor(absl::Milliseconds(500));
    return;
  }
  const std::string who = rank == 0 ? command : absl::StrCat(command, " (rank ", rank, ")");
  std::cerr << absl::StrCat(who, ": ", status.message(), "\n") << std::flush;
}

// What exceptions say, as a status. `thrown`: it was one, and so this rank's alone. The exit code that follows keeps
// the rank out of MPI_Finalize, in which it would wait for the others and they for it: the launcher ends them.
absl::Status RunGuarded(const Run& run, bool* thrown) {
  *thrown = true;
  try {
    const absl::Status status = run();
    *thrown = false;
    return status;
  } catch (const DeviceError& error) {
    return absl::UnavailableError(error.what());
  } catch (const NotFinite& error) {
    return absl::AbortedError(error.what());
  } catch (const OutOfMemory& error) {
    return absl::ResourceExhaustedError(error.what());
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory; use a smaller batch or model, or a machine with more memory");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("unexpected failure: ", error.what(), "; this is a bug, please report it"));
  }
}

// Whether all that was printed arrived: results that got lost on a full disk are no success.
absl::Status FlushStdout() {
  errno = 0;
  std::cout.flush();
  if (std::cout.good()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("cannot write to stdout: ", errno != 0 ? std::strerror(errno) : "not all of the output was taken"));
}

// `bounds` and `type` say so to people, in an error and in --help.
CLI::Validator IntegerWithin(int64_t least, int64_t most, const std::string& bounds, const std::string& type) {
  const auto check = [least, most, bounds](const std::string& text) {
    int64_t value = 0;
    const bool good = absl::SimpleAtoi(text, &value) && least <= value && value <= most;
    return good ? std::string() : absl::StrCat(text, " is not an integer ", bounds);
  };
  return CLI::Validator(check, type);
}

CLI::Validator NumberThat(bool (*good)(double), const std::string& wanted, const std::string& type) {
  const auto check = [good, wanted](const std::string& text) {
    double value = 0;
    return absl::SimpleAtod(text, &value) && std::isfinite(value) && good(value)
               ? std::string()
               : absl::StrCat(text, " is not ", wanted);
  };
  return CLI::Validator(check, type);
}

}  // namespace

// CLI11 itself wraps or clamps numbers that don't fit.
CLI::Validator Unsigned() {
  const auto check = [](const std::string& text) {
    uint64_t value;
    return absl::SimpleAtoi(text, &value) ? std::string()
                                          : absl::StrCat(text, " is not an integer from 0 to ", UINT64_MAX);
  };
  return CLI::Validator(check, "");
}

CLI::Validator AtLeast(int64_t least) {
  return IntegerWithin(least, std::numeric_limits<int64_t>::max(), absl::StrCat("of ", least, " or more"),
                       absl::StrCat("AT LEAST ", least));
}

CLI::Validator Between(int64_t least, int64_t most) {
  return IntegerWithin(least, most, absl::StrCat("from ", least, " to ", most), absl::StrCat(least, " TO ", most));
}

CLI::Validator Bytes() {
  const auto parse = [](std::string& text) {
    const absl::StatusOr<int64_t> bytes = ParseBytes(text);
    if (!bytes.ok()) return std::string(bytes.status().message());
    text = absl::StrCat(*bytes);
    return std::string();
  };
  return CLI::Validator(parse, "BYTES");
}

CLI::Validator NotNegative() {
  return NumberThat([](double value) { return value >= 0; }, "a number of 0 or more", "AT LEAST 0");
}

CLI::Validator Positive() {
  return NumberThat([](double value) { return value > 0; }, "a number above 0", "ABOVE 0");
}

CLI::App* AddCommand(CLI::App& parent, const std::string& name, const std::string& description, Run* chosen, Run run) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->set_version_flag("--version", kVersion, "Print the version and exit");
  command->final_callback([chosen, run = std::move(run)] { *chosen = run; });
  return command;
}

int RunProgram(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the size limit is a write that fails, like a full disk, not the end
  SetThreads();
  CLI::App app(kDescription, "photon");
  app.set_version_flag("--version", kVersion, "Print the version and exit");
  app.require_subcommand(1);
  Run chosen;
  AddPrepareCommand(app, &chosen);
  AddTrainCommand(app, &chosen);
  AddSubmitCommand(app, &chosen);
  AddPlanCommand(app, &chosen);
  AddGenerateCommand(app, &chosen);
  AddScoreCommand(app, &chosen);
  AddBenchCommands(app, &chosen);
  AddEvalCommand(app, &chosen);
  AddServeCommand(app, &chosen);
  AddStudyCommand(app, &chosen);
  AddCheckpointCommands(app, &chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      app.exit(error);
      const absl::Status printed = FlushStdout();
      if (!printed.ok()) Report(ChosenName(app), printed);
      return ExitCode(printed);
    }
    const std::string command = ChosenName(app), unknown = UnknownCommand(app, argc, argv);
    const std::string problem = unknown.empty() ? Explain(app, error) : unknown;
    Report(command, absl::InvalidArgumentError(absl::StrCat(problem, " (see ", command, " --help)")));
    return kExitBadInput;
  }
  bool thrown = false;
  absl::Status status = RunGuarded(chosen, &thrown);
  if (const absl::Status printed = FlushStdout(); status.ok()) status = printed;
  if (!status.ok()) Report(ChosenName(app), status, thrown);
  return ExitCode(status);
}

}  // namespace photon
