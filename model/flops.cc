#include "model/flops.h"

#include "configs/model_config.h"

namespace photon {
namespace {

double Triangle(double n) { return n * (n + 1) / 2; }

// One layer over `positions` rows whose queries see `pairs` keys in all.
double LayerFlops(const ModelConfig& config, double positions, double pairs) {
  const double d = config.width(), f = config.ffn(), kv = KvHeads(config) * HeadDim(config);
  const double weights = 2 * d * d + 2 * d * kv + 3 * d * f;
  return 2 * weights * positions + 4 * d * pairs;
}

double LevelFlops(const ModelConfig& config, int level, double length) {
  const LevelConfig& c = config.levels(level - 1);
  const double d = config.width(), units = length / static_cast<double>(ChunkProduct(config, level));
  const bool grouped = config.encoder_scope() == ModelConfig::GROUP && level < config.levels_size();
  const double group = grouped ? config.levels(level).chunk() : units;
  const double window = c.prefix() + c.chunk() - 1;

  double flops = c.encoder_layers() * LayerFlops(config, units, units / group * Triangle(group));
  flops += 2 * c.prefix() * d * d * units;                 // converter
  if (level >= 2) flops += 2 * c.chunk() * d * d * units;  // chunker
  if (level >= 2 && config.contents() == ModelConfig::RECONSTRUCTED) {
    for (int j = 0; j < c.chunk(); ++j) {  // one pass per slot, over a window that grows
      const double w = c.prefix() + j;
      flops += c.decoder_layers() * LayerFlops(config, w * units, Triangle(w) * units);
    }
  } else {
    flops += c.decoder_layers() * LayerFlops(config, window * units, Triangle(window) * units);
  }
  return flops;
}

}  // namespace

double ForwardFlops(const ModelConfig& config, int64_t length) {
  const double t = static_cast<double>(length);
  double flops = 2.0 * config.width() * config.vocab_size() * t;  // head
  if (config.levels_size() == 0) return flops + config.layers() * LayerFlops(config, t, Triangle(t));
  for (int l = 1; l <= config.levels_size(); ++l) flops += LevelFlops(config, l, t);
  return flops;
}

}  // namespace photon
