#include "model/language_model.h"

#include <algorithm>

#include "configs/model_config.h"
#include "core/ops/rope.h"
#include "model/photon.h"
#include "model/vanilla.h"

namespace photon {

std::unique_ptr<LanguageModel> LanguageModel::Create(const ModelConfig& config) {
  if (config.levels_size() == 0) return std::make_unique<VanillaModel>(config);
  return std::make_unique<PhotonModel>(config);
}

Tensor LanguageModel::RopeTable(const Context& context, int64_t positions) const {
  absl::MutexLock lock(&rope_mutex_);
  if (rope_tables_.empty() || rope_tables_.back().dim(0) < positions) {
    const int64_t rows = rope_tables_.empty() ? positions : std::max(positions, 2 * rope_tables_.back().dim(0));
    rope_tables_.push_back(ops::RopeTable(context, rows, HeadDim(config_), config_.rope_theta(), master_type()));
  }
  return rope_tables_.back();
}

}  // namespace photon
