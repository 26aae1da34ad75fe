#include "train/trainer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/ops/adamw.h"
#include "core/ops/memory.h"
#include "core/profiler.h"
#include "core/time.h"
#include "model/flops.h"
#include "train/gather_parameters.h"
#include "train/schedule.h"

namespace photon {
namespace {

constexpr AxisSet kAllRanks = {MeshAxis::kDp, MeshAxis::kPp, MeshAxis::kCp, MeshAxis::kTp};

Sharding ShardingOf(const ParallelConfig& parallel) {
  switch (parallel.shard()) {
    case ParallelConfig::OPTIMIZER:
      return Sharding::kOptimizer;
    case ParallelConfig::GRADIENTS:
      return Sharding::kGradients;
    default:
      return Sharding::kNone;
  }
}

std::shared_ptr<const PipelinePlan> PlanFor(const RunConfig& config) {
  if (config.parallel().pp() == 1) return nullptr;
  absl::StatusOr<PipelinePlan> plan = PlanPipeline(config);
  PHOTON_CHECK(plan.ok()) << plan.status();  // who made the config asked before
  return std::make_shared<const PipelinePlan>(*std::move(plan));
}

std::unique_ptr<LanguageModel> BuildModel(const RunConfig& config, const Mesh& mesh, const PipelinePlan* plan,
                                          const Context& context, const OpenedDevice* device) {
  ModelLayout layout(config.model(), config.parallel(), mesh);
  if (plan != nullptr) layout.SetStages(plan->Stages(), mesh.at().index_of(MeshAxis::kPp));
  std::unique_ptr<LanguageModel> model = LanguageModel::Create(config.model(), std::move(layout));
  ParameterSet::Options options{.at = mesh.at()};
  PHOTON_CHECK(ParseDType(config.training().dtype(), &options.compute)) << config.training().dtype();
  if (options.compute == DType::kF64) options.master = DType::kF64;
  options.sharding = ShardingOf(config.parallel());
  options.bucket_bytes = static_cast<int64_t>(1e6 * config.parallel().bucket_mb());
  model->parameters().Allocate(context, options);
  if (device == nullptr || device->computes()) model->parameters().Initialize(context, config.training().seed());
  return model;
}

std::vector<const ModelInput*> Pointers(const std::vector<ModelInput>& inputs) {
  std::vector<const ModelInput*> pointers;
  for (const ModelInput& input : inputs) pointers.push_back(&input);
  return pointers;
}

}  // namespace

Trainer::Trainer(const RunConfig& config, const Mesh& mesh, const Context& context, const Arena& arena,
                 OpenedDevice* device, std::shared_ptr<const PipelinePlan> plan)
    : config_(config),
      mesh_(mesh),
      context_(context),
      arena_(arena),
      plan_(plan != nullptr ? std::move(plan) : PlanFor(config)),
      model_(BuildModel(config, mesh, plan_.get(), context, device)),
      optimizer_(context, model_->parameters(), config.training().optimizer()),
      stage_(*model_, context, config.training().objective(), TrainingPipeline::ForwardOf(config.training())),
      reducer_(context, model_->parameters(), mesh),
      norm_(context, model_->parameters(), mesh),
      health_(config.training().health(), state_),
      step_flops_(TrainingFlops(config.model(), config.data().sequence_length()) * config.training().batch_sequences()),
      exchange_(context.Empty({ops::kAdamWControls + 1 + config.model().levels_size()}, DType::kF64)),
      control_(exchange_.Rows(0, ops::kAdamWControls)),
      loss_sums_(exchange_.Rows(ops::kAdamWControls, exchange_.dim(0))),
      device_(device != nullptr && device->records() ? device : nullptr) {
  if (plan_ != nullptr) pipeline_ = std::make_unique<TrainingPipeline>(config_, *plan_, *model_, mesh_, context_);
  if (device_ != nullptr) recorded_update_ = std::make_unique<Replay>(*device_);
}

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

// Hooks call back while operations are queued, a profile wants to see each of them, and the exchanges inside a model
// that is spread over ranks are calls of the host.
bool Trainer::Records() const {
  const bool spread = mesh_.world().size() > mesh_.axis(MeshAxis::kDp).size();
  return device_ != nullptr && !spread && ActiveProfiler(context_) == nullptr;
}

std::vector<ModelInput> Trainer::Inputs(absl::Span<const TokenBatch> batches, const LossScales& scales) const {
  std::vector<ModelInput> inputs;
  inputs.reserve(batches.size());
  for (const TokenBatch& batch : batches)
    inputs.emplace_back(context_, *model_, batch, scales, config_.training().slice_tokens());
  return inputs;
}

absl::Status Trainer::Accumulate(const std::vector<TokenBatch>& microbatches, const LossScales& scales,
                                 GradientHooks hooks) {
  if (Records() && !hooks.complete) {
    for (const TokenBatch& batch : microbatches) AccumulateRecorded(batch, scales);
    return absl::OkStatus();
  }
  const std::vector<ModelInput> inputs = Inputs(microbatches, scales);
  if (pipeline_ != nullptr) return pipeline_->Accumulate(Pointers(inputs), loss_sums_, std::move(hooks));
  stage_.BeginStep(Pointers(inputs), loss_sums_, std::move(hooks));
  const int count = static_cast<int>(microbatches.size());
  for (int i = 0; i < count; ++i) {
    stage_.Forward(i, 0, {}, i == count - 1);
    stage_.Backward(i, 0, {}, /*split_weights=*/false);
  }
  return absl::OkStatus();
}

void Trainer::AccumulateRecorded(const TokenBatch& microbatch, const LossScales& scales) {
  // Always with a place for masks: one recording serves batches with and without.
  const ModelInput::Form form = {.sequences = microbatch.sequences, .length = microbatch.length, .masked = true};
  std::unique_ptr<RecordedMicrobatch>& recorded = recorded_[form];
  if (recorded == nullptr) {
    recorded = std::make_unique<RecordedMicrobatch>(ModelInput(context_, *model_, form), Replay(*device_));
  }
  recorded->input.Update(context_, microbatch, scales);
  recorded->replay.Run(context_, [&] {
    stage_.BeginStep({&recorded->input}, loss_sums_, {});
    stage_.Forward(0, 0, {}, /*last=*/true);
    stage_.Backward(0, 0, {}, /*split_weights=*/false);
  });
}

absl::StatusOr<StepMetrics> Trainer::Step(std::vector<TokenBatch> microbatches) {
  const TrainingConfig& training = config_.training();
  StepMetrics m;
  const double started = Now();
  int64_t real_tokens = 0;
  PHOTON_ASSIGN_OR_RETURN(const LossCounts counts, GlobalCounts(microbatches, &real_tokens));
  m.step = state_.step() + 1;
  m.lr = LearningRate(training.optimizer(), m.step, training.steps());
  std::vector<double> exchanged = optimizer_.Controls(m.lr, health_.LargestNorm());
  exchanged.resize(exchange_.elements());  // loss sums begin at 0
  ops::CopyFromHost(context_, exchanged.data(), exchange_);
  {
    const Scope scope(context_, "zero gradients");
    model_->parameters().ZeroGradients(context_);
  }
  PHOTON_RETURN_IF_ERROR(Accumulate(microbatches, counts.Scales(training.objective()), reducer_.Begin()));
  const double computed = Now();
  if (const Scope scope(context_, "reduction"); mesh_.world().size() > 1) {
    PHOTON_RETURN_IF_ERROR(reducer_.Finish());
    // Not beside the reducer's: two groups of NCCL at once may wait for each other.
    PHOTON_RETURN_IF_ERROR(mesh_.group(kAllRanks).AllReduce("loss", loss_sums_, Reduction::kSum));
    PHOTON_RETURN_IF_ERROR(FinishPosts());
  }
  const double reduced = Now();

  PHOTON_RETURN_IF_ERROR(Update());
  context_.ToHost(exchange_, exchanged.data());  // the step's only wait for the device

  const double* sums = exchanged.data() + ops::kAdamWControls;
  m.ce = sums[0] / static_cast<double>(std::max<int64_t>(counts.tokens, 1));
  for (size_t l = 1; l <= counts.units.size(); ++l)
    m.rec += sums[l] / static_cast<double>(std::max<int64_t>(counts.units[l - 1], 1));
  m.loss = m.ce + training.objective().alpha() * m.rec;
  m.grad_norm = exchanged[ops::kGradientNorm];
  const bool applied = exchanged[ops::kGradientScale] >= 0;
  if (applied) optimizer_.CountUpdate();
  m.skipped = health_.Judge(m.loss, m.grad_norm, applied);
  state_.set_step(m.step);
  state_.set_tokens_seen(state_.tokens_seen() + real_tokens);

  m.tokens = static_cast<double>(real_tokens);
  m.compute_s = computed - started;
  m.communication_s = reduced - computed;
  m.step_s = Now() - started;
  m.optimizer_s = m.step_s - m.compute_s - m.communication_s;
  m.memory_bytes = PeakMemory();
  return m;
}

absl::Status Trainer::Update() {
  absl::Status status;
  const auto update = [this, &status] {
    status = norm_.Compute();
    if (status.ok()) optimizer_.Step(norm_.square_sum(), loss_sums_, control_);
  };
  // A recording can't ask other ranks.
  Records() && norm_.local() ? recorded_update_->Run(context_, update) : update();
  PHOTON_RETURN_IF_ERROR(status);
  return GatherParameters(context_, model_->parameters(), mesh_);
}

double Trainer::PeakMemory() const {
  size_t bytes = arena_.peak();
  for (const auto& [form, recorded] : recorded_) bytes += recorded->replay.zone().peak();
  if (recorded_update_ != nullptr) bytes += recorded_update_->zone().peak();
  return static_cast<double>(bytes);
}

absl::Status Trainer::Verdict() const {
  const int64_t sequences = config_.training().batch_sequences(), first = (state_.step() - 1) * sequences;
  return health_.Verdict(absl::StrCat("step ", state_.step(), " (sequences ", first, " to ", first + sequences - 1,
                                      " of the sample order)"));
}

absl::Status Trainer::FinishPosts() {
  for (const AxisSet axes : {AxisSet{MeshAxis::kCp}, AxisSet{MeshAxis::kCp, MeshAxis::kTp}}) {
    if (mesh_.group(axes).size() > 1) PHOTON_RETURN_IF_ERROR(mesh_.group(axes).FinishPosts());
  }
  return absl::OkStatus();
}

absl::Status Trainer::Evaluate(absl::Span<const TokenBatch> batches, const Tensor& sums) {
  // A call's batches have one form, as a pipeline's microbatches must (the last batch may be shorter), and are as many
  // as a step's: what is under way stays in the memory that training takes.
  const int most = plan_ != nullptr ? plan_->schedule.microbatches : 1;
  for (size_t begin = 0, count = 0; begin < batches.size(); begin += count) {
    const absl::Span<const TokenBatch> rest = batches.subspan(begin, most);
    const auto other = [&](const TokenBatch& batch) { return batch.sequences != rest[0].sequences; };
    count = std::find_if(rest.begin(), rest.end(), other) - rest.begin();
    const std::vector<ModelInput> inputs = Inputs(rest.first(count), {});
    if (pipeline_ != nullptr) {
      PHOTON_RETURN_IF_ERROR(pipeline_->Evaluate(Pointers(inputs), sums));
    } else {
      stage_.BeginStep(Pointers(inputs), sums, {}, Tape::Mode::kEvaluate);
      stage_.Forward(0, 0, {}, /*last=*/true);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Trainer::Validation> Trainer::Validate(const std::vector<TokenBatch>& batches) {
  const Tensor sums = context_.Zeros(loss_sums_.shape(), DType::kF64);
  PHOTON_RETURN_IF_ERROR(Evaluate(batches, sums));
  PHOTON_RETURN_IF_ERROR(FinishPosts());
  LossCounts counts;
  for (const TokenBatch& batch : batches) counts.Add(LossCounts::Of(config_.model(), batch));
  std::vector<double> totals(sums.elements());
  context_.ToHost(sums, totals.data());
  PHOTON_ASSIGN_OR_RETURN(const double nll,
                          AllReduceScalar(mesh_.group(kAllRanks), "validation loss", totals[0], Reduction::kSum));
  PHOTON_ASSIGN_OR_RETURN(const double tokens, AllReduceScalar(mesh_.axis(MeshAxis::kDp), "validation tokens",
                                                               static_cast<double>(counts.tokens), Reduction::kSum));
  return Validation{nll / std::max(tokens, 1.0), static_cast<int64_t>(tokens)};
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
