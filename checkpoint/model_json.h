// The model's config as the JSON file that goes beside exported weights.
//
//   {"vocab_size": .., "width": .., "ffn": .., "heads": .., "kv_heads": .., "levels": [{"chunk": .., "prefix": ..,
//    "encoder_layers": .., "decoder_layers": ..}, ..], "shift": "TOP", "contents": "ENCODED", "encoder_scope":
//    "GLOBAL", "rope_theta": .., "norm_eps": ..}          level 1 first; a flat model has "levels": [] and "layers"
#pragma once

#include <string>

#include "configs/model.pb.h"
#include "core/status.h"

namespace photon {

std::string ModelConfigToJson(const ModelConfig& config);

// kInvalidArgument for anything but such an object: messages begin with `file` and name the key that is unknown,
// missing or of the wrong kind, or the value that no model can have. `kv_heads`, `shift`, `contents`, `encoder_scope`,
// `rope_theta` and `norm_eps` may be left out.
absl::StatusOr<ModelConfig> ModelConfigFromJson(const std::string& text, const std::string& file);

}  // namespace photon
