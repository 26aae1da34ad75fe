#include "model/flops.h"

#include "configs/model_config.h"
#include "model/layer_sizes.h"

namespace photon {
namespace {

double Triangle(double n) { return n * (n + 1) / 2; }

// One layer over `positions` rows whose queries see `pairs` keys in all.
double LayerFlops(const ModelConfig& config, double positions, double pairs) {
  return 2.0 * static_cast<double>(LayerMatrices(config)) * positions + 4.0 * config.width() * pairs;
}

double EncoderFlops(const ModelConfig& config, const ModelItem& item, double length) {
  const int layers = item.end - item.begin, l = item.level;
  if (config.levels_size() == 0) return layers * LayerFlops(config, length, Triangle(length));
  const double d = config.width(), units = length / static_cast<double>(ChunkProduct(config, l));
  const bool grouped = config.encoder_scope() == ModelConfig::GROUP && l < config.levels_size();
  const double group = grouped ? config.levels(l).chunk() : units;
  double flops = layers * LayerFlops(config, units, units / group * Triangle(group));
  if (item.first && l >= 2) flops += 2 * config.levels(l - 1).chunk() * d * d * units;  // chunker
  return flops;
}

double DecoderFlops(const ModelConfig& config, const ModelItem& item, double length) {
  const LevelConfig& c = config.levels(item.level - 1);
  const int layers = item.end - item.begin;
  const double d = config.width(), units = length / static_cast<double>(ChunkProduct(config, item.level));
  double flops = item.first ? 2 * c.prefix() * d * d * units : 0;  // converter
  if (item.level >= 2 && config.contents() == ModelConfig::RECONSTRUCTED) {
    for (int j = 0; j < c.chunk(); ++j) {  // one pass per slot, over a window that grows
      const double w = c.prefix() + j;
      flops += layers * LayerFlops(config, w * units, Triangle(w) * units);
    }
    return flops;
  }
  const double window = c.prefix() + c.chunk() - 1;
  return flops + layers * LayerFlops(config, window * units, Triangle(window) * units);
}

}  // namespace

double ItemFlops(const ModelConfig& config, const ModelItem& item, int64_t length) {
  const auto t = static_cast<double>(length);
  switch (item.kind) {
    case ModelItem::Kind::kEncoder:
      return EncoderFlops(config, item, t);
    case ModelItem::Kind::kDecoder:
      return DecoderFlops(config, item, t);
    default:
      return 2.0 * config.width() * config.vocab_size() * t;
  }
}

double ForwardFlops(const ModelConfig& config, int64_t length) {
  double flops = 0;
  for (const ModelItem& item : ItemsOf(config)) flops += ItemFlops(config, item, length);
  return flops;
}

}  // namespace photon
