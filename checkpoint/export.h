// Weights in and out: fp32 safetensors under the spec's names, with the model's config in a JSON file beside it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "configs/model.pb.h"
#include "core/status.h"

namespace photon {

// F.json for F.safetensors.
std::string ModelJsonPath(const std::string& safetensors);

// Verifies and writes section "model" of the checkpoint, f64 rounded to f32. Neither file is ever seen half-written.
// `progress`, here and below: tells on stderr how far it is.
absl::Status ExportSafetensors(const std::string& checkpoint_dir, const std::string& out, bool progress = false);

// What a model of this config consists of. The caller knows models; this folder doesn't.
using ExpectedTensors = std::function<absl::StatusOr<std::vector<NamedShape>>(const ModelConfig& config)>;

// Reads such a pair and writes a checkpoint of step 0 without optimizer state, with a copy of the file `tokenizer`
// where it is not empty. Names and shapes must be exactly the expected ones: kInvalidArgument names the first that is
// missing, in excess or of another shape. Holds all weights in memory once. Refuses to replace a checkpoint that
// exists.
absl::Status ImportSafetensors(const std::string& in, const std::string& checkpoint_dir, const std::string& tokenizer,
                               const ExpectedTensors& expected, bool progress = false);

}  // namespace photon
