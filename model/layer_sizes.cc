#include "model/layer_sizes.h"

#include "configs/model_config.h"

namespace photon {

int64_t LayerMatrices(const ModelConfig& config) {
  const int64_t d = config.width(), kv = int64_t{KvHeads(config)} * HeadDim(config);
  return 2 * d * d + 2 * d * kv + 3 * d * config.ffn();
}

double LayerActivationBytes(const ModelConfig& config, double master, double compute) {
  const double d = config.width(), kv = static_cast<double>(KvHeads(config)) * HeadDim(config), f = config.ffn();
  return 2 * d * master + (2 * d + d + 2 * kv + d + 3 * f) * compute;
}

}  // namespace photon
