#include "study/study_data.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "checkpoint/store.h"
#include "configs/config.h"
#include "configs/parse.h"
#include "core/file.h"
#include "core/status.h"
#include "data/open.h"
#include "train/data_progress.h"

namespace photon::study {
namespace {

using DataFiles = std::vector<DataFile>;

std::string ValidationFile(const Options& options) { return options.out + "/valid.textproto"; }

// The folders of all runs that may stand in one table with those of `options`, planned now or by another call. There is
// no further seed of a model without its first ones.
absl::StatusOr<std::vector<std::string>> RunFolders(const Options& options) {
  PHOTON_ASSIGN_OR_RETURN(const Scale scale, FindScale(options.scale.name));
  std::vector<std::string> folders;
  for (const Size& size : scale.sizes) {
    for (const Kind kind : kKinds) {
      for (int seed = 1; seed <= options.seeds; ++seed) {
        folders.push_back(absl::StrCat(options.out, "/", RunName(kind, size, seed)));
      }
    }
  }
  return folders;
}

// What a run's newest good checkpoint was trained on; none: unknown.
DataFiles TrainedOn(const std::string& run_dir) {
  for (const std::string& dir : ListCheckpoints(run_dir)) {
    const auto reader = CheckpointReader::Open(dir);
    if (!reader.ok()) continue;
    const auto& data = reader->manifest().state().data();
    return {data.begin(), data.end()};
  }
  return {};
}

absl::StatusOr<DataFiles> ValidatedOn(const Options& options) {
  std::error_code error;
  if (!std::filesystem::exists(ValidationFile(options), error)) return DataFiles();
  DataFiles kept(1);
  PHOTON_RETURN_IF_ERROR(ParseFile(ValidationFile(options), "validation data of the study", &kept[0]));
  return kept;
}

// `where` tells of `began`, with which the data of `option` are compared.
absl::Status Compare(absl::string_view option, const std::string& where, const DataFiles& began, const DataFiles& now) {
  const std::string difference = DataDifference(began, now);
  if (difference.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(option, ": ", difference, ", as ", where,
                   " tells: a study keeps its data. Give those it was begun with, or another --out"));
}

// The validation data, and whether the folder tells of them.
struct Checked {
  DataFile valid;
  bool kept = false;
};

absl::StatusOr<Checked> Check(const Options& options, const RunConfig& config) {
  PHOTON_ASSIGN_OR_RETURN(const OpenedData opened, OpenData(config.data(), options.vocab_size, config.data().align()));
  PHOTON_ASSIGN_OR_RETURN(const DataProgress progress, DataProgress::Create(config, opened.train));
  PHOTON_ASSIGN_OR_RETURN(const DataFiles train, progress.Identify());
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::string> folders, RunFolders(options));
  for (const std::string& folder : folders) {
    PHOTON_RETURN_IF_ERROR(Compare("--data", folder, TrainedOn(folder), train));
  }
  Checked checked;
  PHOTON_ASSIGN_OR_RETURN(checked.valid, Identified(opened.valid[0]));
  PHOTON_ASSIGN_OR_RETURN(const DataFiles kept, ValidatedOn(options));
  PHOTON_RETURN_IF_ERROR(Compare("--valid", ValidationFile(options), kept, {checked.valid}));
  checked.kept = !kept.empty();
  return checked;
}

}  // namespace

absl::Status CheckData(const Options& options, const std::vector<PlannedRun>& runs) {
  return Check(options, runs[0].config).status();
}

absl::Status CheckAndKeepData(const Options& options, const std::vector<PlannedRun>& runs) {
  PHOTON_ASSIGN_OR_RETURN(const Checked checked, Check(options, runs[0].config));
  return checked.kept ? absl::OkStatus() : WriteFile(ValidationFile(options), ToText(checked.valid));
}

}  // namespace photon::study
