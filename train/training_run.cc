#include "train/training_run.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "configs/config.h"
#include "core/checked_backend.h"
#include "core/file.h"
#include "core/folder.h"
#include "core/matrix_peak.h"
#include "core/profiler.h"
#include "core/time.h"
#include "train/run_inputs.h"

namespace photon {

absl::Status TrainingRun::Run(const TrainOptions& options) {
  PHOTON_RETURN_IF_ERROR(Start(options));
  absl::Status status;
  try {
    status = Loop();
  } catch (const NotFinite& found) {  // of training.check; other ranks may be in the midst of a step
    throw NotFinite(absl::StrCat("after step ", step(), ", ", found.what()));
  }
  // Where training stopped itself, all ranks are here, and a save under way is still good.
  if (absl::IsAborted(status) && saver_.under_way()) (void)saver_.Finish();
  if (leads()) {
    if (const absl::Status plotted = PlotLoss(config_.run_dir(), validation_.unigram_entropy); !plotted.ok()) {
      spdlog::warn("{}", std::string(plotted.message()));
    }
  }
  return status;
}

// Fresh, from another run's weights, or from where this run stopped.
absl::Status TrainingRun::ChooseBeginning(const TrainOptions& options) {
  const bool has_checkpoints = leads() && !ListCheckpoints(config_.run_dir()).empty();
  absl::Status fresh;
  if (has_checkpoints && !options.resume) {
    fresh =
        absl::AlreadyExistsError(absl::StrCat("run_dir ", config_.run_dir(),
                                              " holds checkpoints already: pass --resume to go on with that run, or "
                                              "choose another folder with --set run_dir=.."));
  }
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "run folder", fresh));
  if (options.resume) {
    PHOTON_ASSIGN_OR_RETURN(const std::optional<RunState> state, checkpoints_.Restore());
    if (state.has_value()) {
      trainer_.Restore(*state);
      saver_.Resumed(state->step());
      PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "same data", CheckResumed(*state)));
      if (leads()) {
        spdlog::info("resumed at step {}{}", state->step(),
                     options.init_from.empty() ? "" : " (the run has begun: --init-from is not used)");
      }
      return absl::OkStatus();
    }
    if (leads()) spdlog::info("nothing to resume in {}: starting at step 0", config_.run_dir());
  }
  if (options.init_from.empty()) return absl::OkStatus();
  PHOTON_RETURN_IF_ERROR(checkpoints_.InitFrom(options.init_from));
  if (leads()) spdlog::info("weights of {}; step, schedule and optimizer begin anew", options.init_from);
  return absl::OkStatus();
}

absl::Status TrainingRun::Start(const TrainOptions& options) {
  if (profile_.profiler() != nullptr && context_.device().type != DeviceType::kCpu) {
    profile_.profiler()->SetWait([this] { context_.Synchronize(); });
  }
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "data", PrepareData()));
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "run folder", LockRun()));
  PHOTON_RETURN_IF_ERROR(ChooseBeginning(options));
  absl::Status opened;
  if (leads()) {
    absl::StatusOr<MetricsLog> log = MetricsLog::Open(config_.run_dir(), step());
    opened = log.status();
    if (log.ok()) log_ = *std::move(log);
    if (opened.ok()) opened = WriteFile(config_.run_dir() + "/config.textproto", ToText(saved_config_));
    if (opened.ok()) opened = RemoveFile(FinishedFile());
  }
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "open metrics", opened));
  return MeasurePeak();
}

absl::Status TrainingRun::LockRun() {
  if (!leads()) return absl::OkStatus();
  constexpr double kEndingOfAnother = 5;                   // seconds
  PHOTON_RETURN_IF_ERROR(MakeFolders(config_.run_dir()));  // durably: what is saved in it later is found only if it is
  PHOTON_ASSIGN_OR_RETURN(RunLock lock, RunLock::Take(config_.run_dir(), kEndingOfAnother, "--set run_dir=.."));
  lock_.emplace(std::move(lock));
  return absl::OkStatus();
}

absl::Status TrainingRun::PrepareData() {
  PHOTON_ASSIGN_OR_RETURN(
      validation_, OpenValidation(data_.valid, data_.train->blend(), config_.training(), dp_.rank(), dp_.size()));
  PHOTON_ASSIGN_OR_RETURN(progress_, DataProgress::Create(config_, data_.train));
  PHOTON_ASSIGN_OR_RETURN(trained_on_, progress_->Identify());
  return absl::OkStatus();
}

absl::Status TrainingRun::CheckResumed(const RunState& state) {
  early_stop_.Restore(state);
  const absl::Status same = CheckSameData({state.data().begin(), state.data().end()}, trained_on_);
  if (!config_.data().accept_changed()) return same;
  if (!same.ok() && leads()) spdlog::warn("data.accept_changed: {}", std::string(same.message()));
  return absl::OkStatus();
}

RunState TrainingRun::State() const {
  RunState state = trainer_.state();
  state.mutable_data()->Assign(trained_on_.begin(), trained_on_.end());
  early_stop_.Save(&state);
  return state;
}

absl::Status TrainingRun::MeasurePeak() {
  // All ranks at once: what the machines give when all of them compute.
  const double mine = MeasureMatrixPeak(context_, trainer_.model().compute_type());
  PHOTON_ASSIGN_OR_RETURN(peak_flops_, AllReduceScalar(mesh_.world(), "matrix peak", mine, Reduction::kSum));
  if (leads()) {
    spdlog::info("{} parameters, {} rank{}, {} tokens a step, {}; {}, matrix peak {:.0f} GFLOP/s",
                 LanguageModel::Create(config_.model())->parameters().count(), mesh_.world().size(),
                 mesh_.world().size() == 1 ? "" : "s",
                 int64_t{config_.training().batch_sequences()} * config_.data().sequence_length(),
                 config_.training().dtype(), device_, peak_flops_ / 1e9);
  }
  return absl::OkStatus();
}

absl::Status TrainingRun::Loop() {
  const TrainingConfig& training = config_.training();
  PHOTON_ASSIGN_OR_RETURN(const std::unique_ptr<Loader> loader,
                          Loader::Create(data_.train, {.batch_sequences = training.batch_sequences(),
                                                       .micro_batch_sequences = training.micro_batch_sequences(),
                                                       .rank = dp_.rank(),
                                                       .ranks = dp_.size()}));
  loader->Seek(step());
  if (leads()) {
    for (const std::string& line : progress_->Plan()) spdlog::info("{}", line);
  }
  first_step_ = step();
  loop_started_ = Now();
  int stop = 0;
  while (step() < progress_->last_step() && stop == 0 && !early_stop_.due()) {
    const absl::StatusOr<StepMetrics> metrics = OneStep(*loader);
    if (!metrics.ok()) return SaveAfter(metrics.status());
    Report(*metrics);
    PHOTON_RETURN_IF_ERROR(trainer_.Verdict());
    bool last = step() == progress_->last_step(), best = false;
    if (last || (training.valid_every() > 0 && step() % training.valid_every() == 0)) {
      PHOTON_ASSIGN_OR_RETURN(best, ValidateNow());
      last = last || early_stop_.due();
    }
    PHOTON_ASSIGN_OR_RETURN(const Asked asked, AskAll());
    stop = asked.stop;
    PHOTON_RETURN_IF_ERROR(saver_.Advance(asked.writing));
    const int64_t every = config_.checkpoint().every();
    if (best && saver_.under_way()) PHOTON_RETURN_IF_ERROR(saver_.Finish());  // the best one is never skipped
    if (last || stop != 0 || best || asked.save || (every > 0 && step() % every == 0)) {
      PHOTON_RETURN_IF_ERROR(saver_.Save(last || stop != 0));
    }
  }
  ReportEnd(stop);
  // A run that could not save its end has not done its job, however well it trained.
  if (saver_.last_saved() != step())
    return absl::ResourceExhaustedError("the last checkpoint could not be saved; see above");
  absl::Status marked;
  if (leads() && (step() >= progress_->last_step() || early_stop_.due())) {
    marked = WriteFile(FinishedFile(), absl::StrCat("step ", step(), "\n"));
  }
  return AgreeOn(mesh_.world(), "the run's end", marked);
}

void TrainingRun::ReportEnd(int stop_signal) {
  if (!leads()) return;
  if (early_stop_.due()) {
    spdlog::info("{}", early_stop_.Message());
  } else if (step() >= config_.training().steps() && step() == first_step_) {
    spdlog::info("nothing to do: the run is already at step {} of training.steps = {}; to go on, raise training.steps",
                 step(), config_.training().steps());
  } else if (step() >= progress_->last_step() && progress_->ends_early()) {
    spdlog::info("the data end after step {} (data.at_end: STOP), before training.steps = {}", step(),
                 config_.training().steps());
  } else if (stop_signal != 0) {
    spdlog::info("stopped by SIG{} at step {}; --resume goes on from there", sigabbrev_np(stop_signal), step());
  }
}

// Data that can't be read end the run, but cost none of what it has learnt. All ranks have the same error, of the data;
// others (of ranks that can't reach each other) leave nobody to save with.
absl::Status TrainingRun::SaveAfter(const absl::Status& data_error) {
  const bool of_data = absl::IsFailedPrecondition(data_error) || absl::IsInvalidArgument(data_error) ||
                       absl::IsDataLoss(data_error) || absl::IsNotFound(data_error);
  if (of_data && step() > 0) PHOTON_RETURN_IF_ERROR(saver_.Save(/*last=*/true));
  return data_error;
}

absl::StatusOr<StepMetrics> TrainingRun::OneStep(Loader& loader) {
  const double started = Now();
  profile_.BeginStep(arena_);
  absl::StatusOr<StepData> data = [&] {
    const Scope scope(context_, "data");
    return loader.Next();
  }();
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "training data", data.status()));
  const double waited = Now() - started;
  PHOTON_ASSIGN_OR_RETURN(StepMetrics metrics, trainer_.Step(std::move(data->microbatches)));
  EndProfiledStep();
  metrics.data_s = waited;
  metrics.step_s = Now() - started;
  metrics.tokens_per_s = metrics.tokens / metrics.step_s;
  metrics.mfu = trainer_.step_flops() / metrics.step_s / peak_flops_;
  return metrics;
}

void TrainingRun::EndProfiledStep() {
  for (const GradientReducer::Busy& busy : trainer_.reducer().busy()) profile_.AddReduction(busy.begin, busy.end);
  if (!profile_.EndStep(arena_)) return;
  const absl::Status written = profile_.Write(config_.run_dir(), mesh_.world().rank());
  if (!written.ok()) spdlog::warn("{}", std::string(written.message()));
  if (leads()) spdlog::info("{}", profile_.Table());
}

void TrainingRun::Report(const StepMetrics& metrics) {
  if (!leads()) return;
  log_->WriteStep(metrics);
  for (const std::string& line : progress_->EpochsBegun(metrics.step)) spdlog::info("{}", line);
  const int64_t steps = progress_->last_step();
  const bool due = config_.training().log_every() > 0 && metrics.step % config_.training().log_every() == 0;
  if (!due && metrics.skipped.empty() && metrics.step != steps) return;
  const double per_step = (Now() - loop_started_) / static_cast<double>(metrics.step - first_step_);
  spdlog::info("{}", StepLine(metrics, steps, per_step * static_cast<double>(steps - metrics.step)));
}

absl::StatusOr<bool> TrainingRun::ValidateNow() {
  if (validation_.names.empty()) return false;
  std::vector<SourceLoss> sources;
  double loss = 0;
  int64_t tokens = 0;
  for (size_t s = 0; s < validation_.names.size(); ++s) {
    PHOTON_ASSIGN_OR_RETURN(const Trainer::Validation result, trainer_.Validate(validation_.batches[s]));
    sources.push_back({validation_.names[s], result.loss});
    loss += result.loss * static_cast<double>(result.tokens);
    tokens += result.tokens;
  }
  loss /= static_cast<double>(std::max<int64_t>(tokens, 1));
  if (sources.size() == 1) loss = sources[0].loss, sources.clear();  // as it was computed, to the last bit
  if (leads()) {
    log_->WriteValidation(step(), loss, tokens, sources);
    spdlog::info("{}", ValidationLine(step(), loss, tokens, validation_.unigram_entropy));
  }
  return early_stop_.Add(step(), loss);
}

absl::StatusOr<TrainingRun::Asked> TrainingRun::AskAll() {
  int32_t any[] = {signals_.stop_signal(), signals_.TakeSaveWanted(), checkpoints_.working()};
  PHOTON_RETURN_IF_ERROR(mesh_.world().AllReduce("signals", Tensor::Wrap(any, Shape{3}, DType::kI32), Reduction::kMax));
  return Asked{any[0], any[1] != 0, any[2] != 0};
}

}  // namespace photon
