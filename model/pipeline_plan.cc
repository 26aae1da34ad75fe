#include "model/pipeline_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/dtype.h"
#include "model/chain.h"
#include "model/flops.h"
#include "model/layer_sizes.h"
#include "parallel/pipeline/check.h"
#include "parallel/pipeline/cut.h"

namespace photon {
namespace {

using Kind = ModelItem::Kind;

// Schedules that are up to this much slower than the fastest are taken where they need less memory: it halves the
// peak with many microbatches (tests/parallel/pipeline_schedule_test.cc).
constexpr double kSlack = 0.02;

// Rows of a stack's stream, of one sequence.
double RowsOf(const ModelConfig& config, const ModelItem& item, double length) {
  if (item.kind == Kind::kHead || config.levels_size() == 0) return length;
  const double units = length / static_cast<double>(ChunkProduct(config, item.level));
  const LevelConfig& c = config.levels(item.level - 1);
  return item.kind == Kind::kEncoder ? units : units * (c.prefix() + c.chunk() - 1);
}

int64_t ParametersOf(const ModelConfig& config, const ModelItem& item) {
  const int64_t d = config.width(), v = config.vocab_size();
  if (item.kind == Kind::kHead) return v * d;
  int64_t count = (item.end - item.begin) * (LayerMatrices(config) + 2 * d);
  if (item.kind == Kind::kDecoder && item.first) {
    count += config.levels(item.level - 1).prefix() * d * d;
    if (item.level == 1) count += v * d;
  }
  if (item.kind == Kind::kEncoder && item.first) {
    const bool flat = config.levels_size() == 0;
    count += flat              ? v * d
             : item.level == 1 ? v * d / config.levels(0).chunk()
                               : config.levels(item.level - 1).chunk() * d * d;
  }
  return count;
}

// Where the stream of encoder l - 1 is read by decoder l.
void AddSkips(const RunConfig& config, const std::vector<ModelItem>& items, pipeline::Chain* chain) {
  const ObjectiveConfig& objective = config.training().objective();
  const auto find = [&](Kind kind, int level, bool last) {
    const auto is = [&](const ModelItem& item) {
      return item.kind == kind && item.level == level && (last ? item.last : item.first);
    };
    return static_cast<int>(std::find_if(items.begin(), items.end(), is) - items.begin());
  };
  for (int l = 2; l <= config.model().levels_size(); ++l) {
    pipeline::Skip skip{.from = find(Kind::kEncoder, l - 1, true), .uses = {}};
    const int first = find(Kind::kDecoder, l, false), last = find(Kind::kDecoder, l, true);
    if (config.model().contents() == ModelConfig::ENCODED) skip.uses.push_back({first, true});
    // The target of the reconstruction loss.
    skip.uses.push_back({last, objective.alpha() != 0 && !objective.stop_gradient()});
    chain->skips.push_back(std::move(skip));
  }
}

}  // namespace

pipeline::Chain ChainOf(const RunConfig& config) {
  const ModelConfig& model = config.model();
  const ParallelConfig& parallel = config.parallel();
  const TrainingConfig& training = config.training();
  const std::vector<ModelItem> items = ItemsOf(model);
  DType compute = DType::kF32;
  PHOTON_CHECK(ParseDType(training.dtype(), &compute)) << training.dtype();
  const double narrow = static_cast<double>(ByteSize(compute)), wide = compute == DType::kF64 ? 8 : 4;
  const int64_t length = config.data().sequence_length();
  const double sequences = training.micro_batch_sequences(), shared = double{1} * parallel.cp() * parallel.tp();
  const bool encoders = parallel.pipeline().form() == PipelineConfig::ENCODERS;

  pipeline::Chain chain;
  for (const ModelItem& item : items) {
    const double flops = sequences * ItemFlops(model, item, length);
    const double rows = sequences * RowsOf(model, item, static_cast<double>(length)) / shared;
    const bool up = item.kind == Kind::kEncoder;
    const bool sliced = item.kind == Kind::kHead || (encoders && item.kind == Kind::kDecoder && item.level == 1);
    const double kept = sliced ? 0 : rows * (item.end - item.begin) * LayerActivationBytes(model, wide, narrow);
    const std::string group = item.kind == Kind::kHead ? "head" : absl::StrCat(up ? "E" : "D", item.level);
    chain.items.push_back({.name = item.name,
                           .group = group,
                           .forward = sliced ? 3 * flops : flops,
                           .backward = sliced ? 0 : flops,
                           .weights = sliced ? 0 : flops,
                           .parameter_bytes = static_cast<int64_t>(static_cast<double>(ParametersOf(model, item)) *
                                                                   (4 * wide + narrow) / parallel.tp()),
                           .activation_bytes = static_cast<int64_t>(kept),
                           .stream_bytes = static_cast<int64_t>(rows * model.width() * wide)});
    chain.encoders += up;
  }
  AddSkips(config, items, &chain);
  return chain;
}

std::vector<int> PipelinePlan::Stages() const {
  std::vector<int> stages(chain.items.size());
  for (int s = 0; s < layout.count(); ++s) {
    const bool everywhere = layout.form() == pipeline::Form::kEncoders && s + 1 == layout.count();
    const pipeline::Segment& segment = layout.segments()[s];
    for (int i = segment.begin; i < segment.end; ++i) stages[i] = everywhere ? -1 : layout.RankOf(s, 0);
  }
  return stages;
}

absl::StatusOr<PipelinePlan> PlanPipeline(const RunConfig& config) {
  const ParallelConfig& parallel = config.parallel();
  PipelinePlan plan;
  plan.chain = ChainOf(config);
  const pipeline::Form form = pipeline::FormOf(parallel.pipeline().form());
  PHOTON_ASSIGN_OR_RETURN(plan.layout, pipeline::CutByCost(plan.chain, form, parallel.pp()));
  const TrainingConfig& training = config.training();
  PHOTON_ASSIGN_OR_RETURN(
      plan.schedule, pipeline::MakeSchedule(plan.layout, {.order = pipeline::OrderOf(parallel.pipeline().schedule()),
                                                          .microbatches = training.batch_sequences() / parallel.dp() /
                                                                          training.micro_batch_sequences(),
                                                          .slack = kSlack}));
  PHOTON_RETURN_IF_ERROR(pipeline::CheckSchedule(plan.layout, plan.schedule).status());
  return plan;
}

}  // namespace photon
