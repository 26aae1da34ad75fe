#include "train/trainer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/ops/adamw.h"
#include "core/profiler.h"
#include "core/time.h"
#include "model/flops.h"
#include "train/schedule.h"

namespace photon {
namespace {

std::unique_ptr<LanguageModel> BuildModel(const RunConfig& config, const Mesh& mesh, const Context& context) {
  std::unique_ptr<LanguageModel> model = LanguageModel::Create(config.model());
  ParameterSet::Options options{.at = mesh.at()};
  PHOTON_CHECK(ParseDType(config.training().dtype(), &options.compute)) << config.training().dtype();
  model->parameters().Allocate(context, options);
  model->parameters().Initialize(context, config.training().seed());
  return model;
}

ForwardOptions ForwardOf(const TrainingConfig& training) {
  return {.slice_tokens = training.slice_tokens(), .recompute = training.recompute()};
}

Tensor View(std::vector<double>& values) {
  return Tensor::Wrap(values.data(), {static_cast<int64_t>(values.size())}, DType::kF64);
}

}  // namespace

Trainer::Trainer(const RunConfig& config, const Mesh& mesh, const Context& context, const Arena& arena)
    : config_(config),
      mesh_(mesh),
      context_(context),
      arena_(arena),
      model_(BuildModel(config, mesh, context)),
      optimizer_(context, model_->parameters(), config.training().optimizer()),
      stage_(*model_, context, config.training().objective(), ForwardOf(config.training())),
      reducer_(model_->parameters(), mesh.axis(MeshAxis::kDp), mesh.gradients(),
               static_cast<int64_t>(1e6 * config.parallel().bucket_mb())),
      health_(config.training().health(), state_),
      step_flops_(TrainingFlops(config.model(), config.data().sequence_length()) *
                  config.training().batch_sequences()) {}

absl::StatusOr<LossCounts> Trainer::GlobalCounts(const std::vector<TokenBatch>& microbatches,
                                                 int64_t* real_tokens) const {
  const Scope scope(context_, "loss counts");
  LossCounts counts{.tokens = 0, .units = std::vector<int64_t>(config_.model().levels_size())};
  int64_t real = 0;
  for (const TokenBatch& batch : microbatches) {
    counts.Add(LossCounts::Of(config_.model(), batch));
    real += std::count(batch.real.begin(), batch.real.end(), 1);
  }
  std::vector<int64_t> all = {counts.tokens, real};
  all.insert(all.end(), counts.units.begin(), counts.units.end());
  const Tensor tensor = Tensor::Wrap(all.data(), {static_cast<int64_t>(all.size())}, DType::kI64);
  PHOTON_RETURN_IF_ERROR(mesh_.axis(MeshAxis::kDp).AllReduce("loss counts", tensor, Reduction::kSum));
  counts.tokens = all[0];
  *real_tokens = all[1];
  counts.units.assign(all.begin() + 2, all.end());
  return counts;
}

absl::StatusOr<StepMetrics> Trainer::Step(std::vector<TokenBatch> microbatches) {
  const TrainingConfig& training = config_.training();
  StepMetrics m;
  const double started = Now();
  int64_t real_tokens = 0;
  PHOTON_ASSIGN_OR_RETURN(const LossCounts counts, GlobalCounts(microbatches, &real_tokens));
  {
    const Scope scope(context_, "zero gradients");
    model_->parameters().ZeroGradients(context_);
  }
  const int count = static_cast<int>(microbatches.size());
  stage_.BeginStep(std::move(microbatches), counts, reducer_.Begin());
  for (int i = 0; i < count; ++i) {
    stage_.Forward(i, {}, i == count - 1);
    stage_.Backward(i, {}, /*split_weights=*/false);
  }
  const LossSums sums = stage_.Sums();
  const double computed = Now();

  std::vector<double> totals = {sums.nll};
  totals.insert(totals.end(), sums.distances.begin(), sums.distances.end());
  {
    const Scope scope(context_, "reduction");
    PHOTON_RETURN_IF_ERROR(mesh_.axis(MeshAxis::kDp).AllReduce("loss", View(totals), Reduction::kSum));
    PHOTON_RETURN_IF_ERROR(reducer_.Finish());
  }
  const double reduced = Now();

  state_.set_step(state_.step() + 1);
  state_.set_tokens_seen(state_.tokens_seen() + real_tokens);
  m.step = state_.step();
  m.ce = totals[0] / static_cast<double>(std::max<int64_t>(counts.tokens, 1));
  for (size_t l = 1; l < totals.size(); ++l)
    m.rec += totals[l] / static_cast<double>(std::max<int64_t>(counts.units[l - 1], 1));
  m.loss = m.ce + training.objective().alpha() * m.rec;
  m.lr = LearningRate(training.optimizer(), m.step, training.steps());
  std::vector<double> control = optimizer_.Controls(m.lr, health_.LargestNorm());
  const Tensor device_control = context_.FromHost(control.data(), {ops::kAdamWControls}, DType::kF64);
  optimizer_.Step(context_.FromHost(totals.data(), {static_cast<int64_t>(totals.size())}, DType::kF64), device_control);
  context_.ToHost(device_control, control.data());
  m.grad_norm = control[ops::kGradientNorm];
  const bool applied = control[ops::kGradientScale] >= 0;
  if (applied) optimizer_.CountUpdate();
  m.skipped = health_.Judge(m.loss, m.grad_norm, applied);

  m.tokens = static_cast<double>(real_tokens);
  m.compute_s = computed - started;
  m.communication_s = reduced - computed;
  m.step_s = Now() - started;
  m.optimizer_s = m.step_s - m.compute_s - m.communication_s;
  m.memory_bytes = static_cast<double>(arena_.peak());
  return m;
}

absl::Status Trainer::Verdict() const {
  const int64_t sequences = config_.training().batch_sequences(), first = (state_.step() - 1) * sequences;
  return health_.Verdict(absl::StrCat("step ", state_.step(), " (sequences ", first, " to ", first + sequences - 1,
                                      " of the sample order)"));
}

absl::StatusOr<Trainer::Validation> Trainer::Validate(const std::vector<TokenBatch>& batches) {
  std::vector<double> totals = {0, 0};
  for (const TokenBatch& batch : batches) {
    Tape tape(context_, Tape::Mode::kEvaluate);
    const LossCounts counts = LossCounts::Of(config_.model(), batch);
    const LossRows rows =
        ComputeLoss(*model_, tape, batch, config_.training().objective(), counts, ForwardOf(config_.training()));
    totals[0] += SumLoss(context_, *model_, batch, rows).nll;
    totals[1] += static_cast<double>(counts.tokens);
  }
  PHOTON_RETURN_IF_ERROR(mesh_.axis(MeshAxis::kDp).AllReduce("validation loss", View(totals), Reduction::kSum));
  return Validation{totals[0] / std::max(totals[1], 1.0), static_cast<int64_t>(totals[1])};
}

RunState Trainer::state() const {
  RunState state = state_;
  state.set_updates(optimizer_.updates());
  health_.Save(&state);
  return state;
}

void Trainer::Restore(const RunState& state) {
  state_ = state;
  optimizer_.set_updates(state.updates());
  health_ = HealthMonitor(config_.training().health(), state);
}

}  // namespace photon
