// photon study
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/file.h"
#include "core/folder.h"
#include "core/status.h"
#include "data/token_file.h"
#include "data/token_file_info.h"
#include "launch/commands.h"
#include "launch/environment.h"
#include "launch/model_options.h"
#include "launch/other_work.h"
#include "launch/wanted_picture.h"
#include "study/study.h"
#include "study/study_data.h"
#include "train/run_lock.h"

namespace photon {
namespace {

struct StudyArguments {
  std::string data, valid, out, scale = "tiny", dtype = "bf16", device;
  std::vector<std::string> sizes, kinds = {"vanilla", "block", "photon"}, modes = {"hier", "hier-parallel", "rec"};
  std::vector<double> flops;
  double budget = 1;
  int seeds = 1;
  int64_t vocab_size = 0;
  bool dry_run = false;
};

// PREFIX of PREFIX.bin, which may be given for it.
std::string Prefix(const std::string& path) { return std::string(absl::StripSuffix(path, ".bin")); }

// As many ids as the tokenizer of the token file has.
absl::StatusOr<int64_t> VocabSize(const StudyArguments& arguments, const std::string& prefix) {
  PHOTON_RETURN_IF_ERROR(TokenFile::Open(prefix).status());
  PHOTON_ASSIGN_OR_RETURN(const std::optional<TokenFileInfo> info, TokenFileInfo::Read(prefix));
  if (arguments.vocab_size == 0 && !info.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--data ", prefix, ": there is no ", prefix, ".json to tell the vocabulary: give --vocab-size"));
  }
  if (arguments.vocab_size == 0) return info->vocab_size;
  if (!info.has_value() || info->max_id < arguments.vocab_size) return arguments.vocab_size;
  return absl::InvalidArgumentError(absl::StrCat("--vocab-size ", arguments.vocab_size, ": token file ", prefix,
                                                 " holds token id ", info->max_id, ": leave the option out, for ",
                                                 info->vocab_size));
}

// A name twice would count as a second seed.
absl::Status CheckNamedOnce(const char* option, std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(option, " names ", *twice, " twice: once is enough"));
}

absl::StatusOr<study::Options> OptionsOf(const StudyArguments& arguments) {
  study::Options options;
  options.train = Prefix(arguments.data);
  options.valid = Prefix(arguments.valid);
  options.out = arguments.out;
  PHOTON_ASSIGN_OR_RETURN(options.scale, study::FindScale(arguments.scale));
  if (!arguments.sizes.empty()) {
    PHOTON_ASSIGN_OR_RETURN(options.scale, study::WithSizes(std::move(options.scale), arguments.sizes));
  }
  PHOTON_RETURN_IF_ERROR(CheckNamedOnce("--kinds", arguments.kinds));
  PHOTON_RETURN_IF_ERROR(CheckNamedOnce("--modes", arguments.modes));
  for (const std::string& name : arguments.kinds) {
    PHOTON_ASSIGN_OR_RETURN(options.kinds.emplace_back(), study::ParseKind(name));
  }
  options.flops = arguments.flops;
  options.budget = arguments.budget;
  options.seeds = arguments.seeds;
  options.dtype = arguments.dtype;
  PHOTON_ASSIGN_OR_RETURN(options.vocab_size, VocabSize(arguments, options.train));
  return options;
}

// The table holds what this call named: one of an earlier call, with other models or modes, stays beside it.
absl::Status KeepEarlier(const std::string& out) {
  for (const char* ending : {".json", ".md"}) {
    std::error_code error;
    const std::string name = absl::StrCat(out, "/study", ending);
    if (!std::filesystem::exists(name, error)) continue;
    std::filesystem::rename(name, absl::StrCat(out, "/study.before", ending), error);
    if (error) return absl::FailedPreconditionError(absl::StrCat(name, ": cannot be renamed: ", error.message()));
  }
  return absl::OkStatus();
}

absl::Status Report(const study::Results& results, const std::string& out) {
  PHOTON_RETURN_IF_ERROR(KeepEarlier(out));
  const std::string table = study::ToMarkdown(results);
  PHOTON_RETURN_IF_ERROR(WriteFile(out + "/study.json", study::ToJson(results)));
  PHOTON_RETURN_IF_ERROR(WriteFile(out + "/study.md", table));
  std::cout << table;
  return WarnOfNoPicture(study::Draw(results, out));
}

absl::Status RunStudy(const StudyArguments& arguments) {
  if (LocalRanks(ProcessEnvironment()) > 1 || LauncherRank(ProcessEnvironment()) > 0) {
    return absl::InvalidArgumentError("a study trains on one rank: start it without mpirun");
  }
  PHOTON_ASSIGN_OR_RETURN(const study::Options options, OptionsOf(arguments));
  std::vector<GenerationMode> modes;
  for (const std::string& name : arguments.modes) {
    PHOTON_ASSIGN_OR_RETURN(modes.emplace_back(), ParseGenerationMode(name));
  }
  PHOTON_ASSIGN_OR_RETURN(const std::vector<study::PlannedRun> runs, study::Plan(options));
  PHOTON_RETURN_IF_ERROR(study::CheckData(options, runs));  // before hours of work
  PHOTON_ASSIGN_OR_RETURN(const std::vector<study::RunState> states, study::ReadRunStates(runs));
  std::cout << study::PlanTable(runs, states);
  if (const study::Spread spread = study::WidestSpread(runs); spread.ratio > 1.1) {
    std::cout << absl::StrFormat(
        "note: at %s the kinds' parameters differ by %.0f %%: a vocabulary of %d is large for that width\n",
        spread.size, 100 * (spread.ratio - 1), options.vocab_size);
  }
  if (options.train == options.valid) {
    std::cout << "note: --valid is --data: the losses are those of the training itself\n";
  }
  if (std::error_code error;
      std::filesystem::exists(options.out, error) && !std::filesystem::is_directory(options.out, error)) {
    return absl::InvalidArgumentError(absl::StrCat("--out ", options.out, ": is a file; name a folder"));
  }
  if (arguments.dry_run) return absl::OkStatus();
  PHOTON_RETURN_IF_ERROR(MakeFolders(options.out));
  PHOTON_ASSIGN_OR_RETURN(const RunLock lock, RunLock::Take(options.out, /*wait_s=*/0, "--out"));
  WarnOfOtherWork();
  PHOTON_ASSIGN_OR_RETURN(const std::unique_ptr<OpenedDevice> device, OpenDevice(arguments.device, /*check=*/false));
  PHOTON_ASSIGN_OR_RETURN(const bool trained, study::TrainRuns(options, runs, *device));
  if (!trained) {
    std::cout << "stopped; the same command goes on from there\n";
    return absl::OkStatus();
  }
  PHOTON_ASSIGN_OR_RETURN(const study::Results results, study::MeasureRuns(options, runs, modes, *device));
  return Report(results, options.out);
}

}  // namespace

void AddStudyCommand(CLI::App& app, Run* chosen) {
  const auto a = std::make_shared<StudyArguments>();
  CLI::App& command =
      *AddCommand(app, "study", "Train PHOTON, Block and flat models at equal cost and compare loss with speed", chosen,
                  [a] { return RunStudy(*a); });
  command.add_option("--data", a->data, "Token file to train on: PREFIX, or PREFIX.bin")->required();
  command.add_option("--valid", a->valid, "Token file to validate on, prepared with the same tokenizer")->required();
  command.add_option("--out", a->out, "Folder of the runs and the results; what is done there is not done again")
      ->required();
  command.add_option("--scale", a->scale, "tiny: minutes on two cores; small: hours there; medium: for a GPU")
      ->capture_default_str();
  command.add_option("--sizes", a->sizes, "Of the scale, as --dry-run names them; default: all")->delimiter(',');
  command.add_option("--kinds", a->kinds, "vanilla, block, photon")->delimiter(',')->capture_default_str();
  command.add_option("--modes", a->modes, "Of generation, for PHOTON; the others know one")
      ->delimiter(',')
      ->check(CLI::IsMember({"hier", "hier-parallel", "rec"}))
      ->capture_default_str();
  command.add_option("--flops", a->flops, "Training FLOPs of each model, a number for each size; default: the scale's")
      ->delimiter(',')
      ->check(Positive());
  command.add_option("--budget", a->budget, "Times that")->check(Positive())->capture_default_str();
  command.add_option("--seeds", a->seeds, "Runs of each model; losses are means over them")
      ->check(AtLeast(1))
      ->capture_default_str();
  command.add_option("--vocab-size", a->vocab_size, "Ids; default: as many as the token file's tokenizer has")
      ->check(AtLeast(1));
  command.add_option("--dtype", a->dtype, "Type of matrix products")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  AddDeviceOptions(command, &a->device);
  command.add_flag("--dry-run", a->dry_run, "Print what would be trained, and how far it is, and end");
}

}  // namespace photon
