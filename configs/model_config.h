// What follows from a model's config, and which configs are models at all.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "configs/model.pb.h"

namespace photon {

// C_<=l: tokens per level-l unit; 1 for l = 0.
int64_t ChunkProduct(const ModelConfig& config, int level);
int64_t ChunkProduct(const ModelConfig& config);  // C_<=L

int32_t KvHeads(const ModelConfig& config);  // kv_heads, or heads where unset
int32_t HeadDim(const ModelConfig& config);  // width / heads

// kInvalidArgument, naming the field and the remedy, for every shape that no model can have.
absl::Status ValidateModel(const ModelConfig& config);

}  // namespace photon
