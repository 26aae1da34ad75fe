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
  if (!rope_table_.defined() || rope_table_.dim(0) < positions) {
    const int64_t rows = rope_table_.defined() ? std::max(positions, 2 * rope_table_.dim(0)) : positions;
    rope_table_ = ops::RopeTable(context, rows, HeadDim(config_), config_.rope_theta(), master_type());
  }
  return rope_table_;
}

}  // namespace photon
