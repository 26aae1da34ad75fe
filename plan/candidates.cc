#include "plan/candidates.h"

#include <algorithm>
#include <string>
#include <utility>

#include "configs/config.h"
#include "configs/model_config.h"
#include "configs/validate_layout.h"
#include "model/flops.h"
#include "model/layer_sizes.h"
#include "plan/communication.h"

namespace photon {
namespace {

constexpr double kUneven = 1.1;             // no cut shares out a model's time evenly
constexpr double kLargeProducts = 0.6;      // of the peak: for ordering layouts, not for predicting them
constexpr int kDeepest = 16, kWidest = 16;  // pp, cp
constexpr int kBusy = 4;                    // microbatches for every stage that keep a pipeline busy

struct Kinds {
  EncoderLayout::Kind encoder;
  DecoderLayout::Kind decoder;
};
constexpr Kinds kKinds[] = {{EncoderLayout::TENSOR, DecoderLayout::CHUNK},
                            {EncoderLayout::SEQUENCE, DecoderLayout::CHUNK},
                            {EncoderLayout::TENSOR, DecoderLayout::TENSOR}};

// Parameters of a rank: of what tp splits, its part; of a pipeline, an equal share.
double ParametersOf(const RunConfig& config, const LayoutSizes& sizes) {
  const ModelConfig& model = config.model();
  const double d = model.width(), v = model.vocab_size();
  const auto layers = [&](int n, bool tensor) {
    return static_cast<double>(n * LayerMatrices(model)) / (tensor ? sizes.tp : 1);
  };
  const double tables = config.parallel().vocabulary() == ParallelConfig::SPLIT ? sizes.tp : 1;
  if (model.levels_size() == 0) {
    const bool tensor = LayoutOfLevel(config.parallel(), 1).encoder() == EncoderLayout::TENSOR;
    return (2 * v * d / tables + layers(model.layers(), tensor)) / sizes.pp;
  }
  double sum = (2 * v * d + v * d / model.levels(0).chunk()) / tables;
  for (int l = 1; l <= model.levels_size(); ++l) {
    const LevelConfig& level = model.levels(l - 1);
    const LevelLayout layout = LayoutOfLevel(config.parallel(), l);
    sum += layers(level.encoder_layers(), layout.encoder() == EncoderLayout::TENSOR);
    sum += layers(level.decoder_layers(), layout.decoder() == DecoderLayout::TENSOR);
    sum += level.prefix() * d * d + (l > 1 ? level.chunk() * d * d : 0);
  }
  return sum / sizes.pp;
}

double StateOf(const RunConfig& config, const LayoutSizes& sizes, double parameters) {
  const double replicas = static_cast<double>(sizes.dp) * sizes.cp;
  const auto shard = config.parallel().shard();
  const double copies = config.training().dtype() == "bf16" ? 2 : 0;
  const double kept = 4 + 8;  // masters and moments
  return parameters * (copies + kept / (shard == ParallelConfig::NOTHING ? 1 : replicas) +
                       4 / (shard == ParallelConfig::GRADIENTS ? replicas : 1));
}

// Of a microbatch; in a pipeline every stage has a share of it and as many under way. Without one the last decoder and
// the head go slice by slice.
double ActivationsOf(const RunConfig& config, const LayoutSizes& sizes) {
  const ModelConfig& model = config.model();
  const double tokens = static_cast<double>(config.training().micro_batch_sequences()) *
                        config.data().sequence_length() / (sizes.cp * sizes.tp);
  const double sliced = sizes.pp > 1 ? tokens : std::min<double>(tokens, config.training().slice_tokens());
  const double layer = LayerActivationBytes(model, 4, config.training().dtype() == "bf16" ? 2 : 4);
  const double kept = config.training().recompute() ? 8.0 * model.width() : layer;
  double bytes = 8.0 * sliced * model.vocab_size() / sizes.pp;
  if (model.levels_size() == 0) return bytes + tokens * model.layers() * kept;
  for (int l = 1; l <= model.levels_size(); ++l) {
    const LevelConfig& level = model.levels(l - 1);
    const auto per_unit = static_cast<double>(ChunkProduct(model, l));
    bytes += tokens / per_unit * level.encoder_layers() * kept;
    bytes +=
        (l == 1 ? sliced : tokens) / per_unit * (level.prefix() + level.chunk() - 1) * level.decoder_layers() * layer;
  }
  return bytes;
}

double GuessSeconds(const RunConfig& config, const LayoutSizes& sizes, const Machine& machine, double parameters) {
  const TrainingConfig& training = config.training();
  const double flops = TrainingFlops(config.model(), config.data().sequence_length()) * training.batch_sequences();
  const double microbatches =
      static_cast<double>(training.batch_sequences()) / sizes.dp / training.micro_batch_sequences();
  double seconds = flops / (static_cast<double>(sizes.ranks()) * machine.peak(config) * kLargeProducts);
  if (training.recompute()) seconds *= 4.0 / 3;
  if (sizes.pp > 1) seconds *= kUneven + (sizes.pp - 1) / (2 * microbatches);
  const auto bandwidth = [&](int64_t reach) {
    return reach <= machine.figures.devices_per_node ? machine.figures.link_bandwidth
                                                     : machine.figures.network_bandwidth;
  };
  MeshCoordinates at;
  at.size = {sizes.dp, sizes.pp, sizes.cp, sizes.tp};
  for (const auto& [axes, bytes] : ModelBytes(config, at)) {
    const int64_t reach = int64_t{sizes.tp} * (axes.contains(MeshAxis::kCp) ? sizes.cp : 1);
    seconds += microbatches * static_cast<double>(bytes) / sizes.pp / bandwidth(reach);
  }
  // Gradients in f32, and what is computed with.
  const double replicas = static_cast<double>(sizes.dp) * sizes.cp;
  const double reductions = config.parallel().shard() == ParallelConfig::GRADIENTS ? microbatches : 1;
  const double byte = (replicas - 1) / replicas / bandwidth(sizes.ranks());
  const double beside = config.parallel().overlap_reduction() ? seconds * 2 / 3 * reductions / microbatches : 0;
  const double gathered = training.dtype() == "bf16" ? 2 : 4;
  return seconds + std::max(parameters * 4 * reductions * byte - beside, 0.0) + parameters * gathered * byte;
}

// Numbers of sequences in a microbatch: the largest that leaves a pipeline busy, half as many, .., one.
std::vector<int> MicroBatches(const RunConfig& config, const LayoutSizes& sizes) {
  const int share = config.training().batch_sequences() / sizes.dp;
  std::vector<int> sizes_of;
  for (int micro = share; micro >= 1; --micro) {
    const bool busy = sizes.pp == 1 || share / micro >= kBusy * sizes.pp || micro == 1;
    if (share % micro != 0 || !busy) continue;
    if (sizes_of.empty() || micro <= sizes_of.back() / 2) sizes_of.push_back(micro);
  }
  return sizes_of;
}

// `config` in that layout, as a user would write it.
RunConfig In(RunConfig config, const LayoutSizes& sizes, const Kinds& kinds, ParallelConfig::Shard shard, int micro,
             bool overlap = false) {
  ParallelConfig& parallel = *config.mutable_parallel();
  SetSizes(sizes, &parallel);
  parallel.set_shard(shard);
  parallel.set_overlap_reduction(overlap && sizes.dp > 1);
  if (!CheckOverlapOnGpus(parallel, sizes.ranks()).ok()) parallel.set_overlap_reduction(false);
  const auto written = parallel.levels();
  parallel.clear_levels();
  for (int l = 0; (sizes.tp > 1 || l < written.size()) && l < std::max(config.model().levels_size(), 1); ++l) {
    LevelLayout& level = *parallel.add_levels();
    if (l < written.size() && written[l].has_spans()) level.set_spans(written[l].spans());
    if (sizes.tp == 1) continue;
    level.set_encoder(kinds.encoder);
    level.set_decoder(kinds.decoder);
  }
  config.mutable_training()->set_micro_batch_sequences(micro);
  return config;
}

}  // namespace

std::vector<Candidate> Candidates(const RunConfig& config, const Machine& machine, int devices) {
  std::vector<Candidate> candidates;
  RunConfig free = config;  // sizes that fit under some kind: kinds are chosen below
  free.mutable_parallel()->clear_levels();
  free.mutable_training()->set_micro_batch_sequences(1);
  const auto consider = [&](const LayoutSizes& sizes, const Kinds& kinds) {
    if (sizes.pp > kDeepest || sizes.cp > kWidest || machine.figures.devices_per_node % sizes.tp != 0) return;
    for (const int micro : MicroBatches(config, sizes)) {
      for (const auto shard : {ParallelConfig::NOTHING, ParallelConfig::OPTIMIZER, ParallelConfig::GRADIENTS}) {
        // Where there are replicas, sharing out the optimizer's state costs nothing and saves memory.
        if ((shard == ParallelConfig::NOTHING) != (sizes.dp * sizes.cp == 1)) continue;
        Candidate candidate{.config = In(config, sizes, kinds, shard, micro, machine.overlaps)};
        if (!FitsLayout(candidate.config, sizes).ok()) continue;
        const RunConfig resolved = Resolved(candidate.config, devices);
        const double parameters = ParametersOf(resolved, sizes);
        candidate.memory = StateOf(resolved, sizes, parameters) + ActivationsOf(resolved, sizes);
        if (candidate.memory > machine.for_tensors()) continue;
        candidate.guess_s = GuessSeconds(resolved, sizes, machine, parameters);
        candidates.push_back(std::move(candidate));
      }
    }
  };
  for (const Kinds& kinds : kKinds) {
    const RunConfig with = In(free, {.tp = 2}, kinds, ParallelConfig::NOTHING, 1);
    for (const LayoutSizes& sizes : LayoutsThatFit(with, devices, {.dp = devices}, SIZE_MAX)) {
      if (sizes.tp > 1 || &kinds == &kKinds[0]) consider(sizes, kinds);
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.guess_s < b.guess_s; });
  return candidates;
}

}  // namespace photon
