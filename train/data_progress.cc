#include "train/data_progress.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace photon {

absl::StatusOr<DataProgress> DataProgress::Create(const RunConfig& config, std::shared_ptr<const TrainingData> data) {
  DataProgress progress(config, std::move(data));
  if (progress.last_step_ > 0) return progress;
  return absl::InvalidArgumentError(absl::StrCat(
      "data.at_end is STOP, but the data give not one batch of training.batch_sequences = ", progress.batch_sequences_,
      ": ", progress.Plan()[0], "; lower training.batch_sequences, or set data.at_end=REPEAT"));
}

DataProgress::DataProgress(const RunConfig& config, std::shared_ptr<const TrainingData> data)
    : data_(std::move(data)),
      steps_(config.training().steps()),
      batch_sequences_(config.training().batch_sequences()),
      last_step_(steps_) {
  if (config.data().at_end() == DataConfig::STOP) {
    last_step_ = std::min(steps_, data_->StepsOfOneEpoch(batch_sequences_));
  }
}

std::vector<std::string> DataProgress::Plan() const {
  std::vector<std::string> lines;
  for (int s = 0; s < data_->blend().sources(); ++s) {
    const NamedDataset& source = data_->sources()[s];
    lines.push_back(absl::StrFormat("%s: %d samples of %d tokens, %.4g %% of the batches; %d steps are %.2f epochs",
                                    source.name, source.dataset->samples(), data_->options().sequence_length,
                                    100 * data_->blend().share(s), last_step_,
                                    data_->Epochs(s, last_step_, batch_sequences_)));
  }
  if (ends_early()) {
    lines.push_back(
        absl::StrCat("data.at_end is STOP: the data, and with them the run, end after step ", last_step_,
                     " of training.steps = ", steps_, ", before the learning rate, whose schedule goes by ",
                     "training.steps, comes to its end; for a whole schedule set training.steps=", last_step_));
  }
  return lines;
}

std::vector<std::string> DataProgress::EpochsBegun(int64_t step) const {
  std::vector<std::string> lines;
  for (const TrainingData::EpochBegin& begin : data_->EpochsBegun(step - 1, batch_sequences_)) {
    lines.push_back(absl::StrCat("epoch ", begin.epoch + 1, " of ", data_->sources()[begin.source].name, " begins"));
  }
  return lines;
}

absl::StatusOr<std::vector<DataFile>> DataProgress::Identify() const {
  std::vector<DataFile> files;
  for (int s = 0; s < data_->blend().sources(); ++s) {
    const NamedDataset& source = data_->sources()[s];
    PHOTON_ASSIGN_OR_RETURN(DataFile file, Identified(source));
    file.set_samples(source.dataset->samples());
    file.set_parts(data_->blend().parts()[s]);
    files.push_back(std::move(file));
  }
  return files;
}

absl::StatusOr<DataFile> Identified(const NamedDataset& data) {
  DataFile file;
  file.set_name(data.name);
  PHOTON_ASSIGN_OR_RETURN(*file.mutable_fingerprint(), data.dataset->file().Fingerprint());
  return file;
}

std::string DataDifference(const std::vector<DataFile>& began, const std::vector<DataFile>& now) {
  if (began.empty()) return "";
  for (size_t s = 0; s < std::max(began.size(), now.size()); ++s) {
    if (s >= now.size()) return absl::StrCat("the run was trained on ", began[s].name(), " too");
    if (s >= began.size()) return absl::StrCat("the run was not trained on ", now[s].name());
    // By what it holds: the files may have been moved.
    if (began[s].fingerprint() != now[s].fingerprint()) {
      const bool renamed = began[s].name() != now[s].name();
      return absl::StrCat("token file ", now[s].name(), " is not the one that the run began with",
                          renamed ? absl::StrCat(" (", began[s].name(), ")") : "");
    }
    if (began[s].samples() != now[s].samples()) {
      return absl::StrCat("of ", now[s].name(), ", the run began with ", began[s].samples(), " samples, and now ",
                          "there are ", now[s].samples(), " (data.sequence_length or data.valid_fraction)");
    }
    if (began[s].parts() != now[s].parts()) {
      return absl::StrCat("the weight of ", now[s].name(), " is not the one that the run began with");
    }
  }
  return "";
}

absl::Status CheckSameData(const std::vector<DataFile>& began, const std::vector<DataFile>& now) {
  const std::string difference = DataDifference(began, now);
  if (difference.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(difference,
                   ": the samples to come would not be those that are left. Put back the data that the run "
                   "began with; or, where that is meant, go on with --set data.accept_changed=true"));
}

}  // namespace photon
