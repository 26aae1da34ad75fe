#include "configs/model_config.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "configs/checks.h"

namespace photon {
namespace {

// A unit of the top level must fit into a sequence, whose length is an int32.
constexpr int64_t kMostTokensPerUnit = int64_t{1} << 31;

// Far above any model there is, and low enough that no count of elements or bytes overflows an int64: 16 levels of
// 2 * 10000 layers of 4 * 2^36 + 3 * 2^38 elements are 2^58.
constexpr int64_t kMostLevels = 16;
constexpr int64_t kMostLayers = 10000;
constexpr int64_t kLargestVocabulary = 1 << 24;
constexpr int64_t kLargestWidth = 1 << 18;
constexpr int64_t kLargestFfn = 1 << 20;
constexpr int64_t kLargestChunk = 1 << 16;  // prefixes too

absl::Status ValidateWidth(const ModelConfig& model) {
  const int32_t width = model.width(), heads = model.heads();
  if (width % heads != 0) {
    return Refuse("model.width", width, absl::StrCat("is not a multiple of model.heads = ", heads),
                  NearestMultiples(width, heads));
  }
  if ((width / heads) % 2 != 0) {
    return Refuse("model.width", width,
                  absl::StrCat("with model.heads = ", heads, " gives heads of odd size ", width / heads,
                               ", which RoPE can't rotate"),
                  NearestMultiples(width, 2 * int64_t{heads}));
  }
  if (KvHeads(model) > heads || KvHeads(model) < 1) {
    return Refuse("model.kv_heads", KvHeads(model), absl::StrCat("is not from 1 to model.heads = ", heads),
                  absl::StrCat("use at most ", heads, ", or leave it out for one per head"));
  }
  if (model.levels_size() > 0 && width % model.levels(0).chunk() != 0) {
    const int32_t chunk = model.levels(0).chunk();
    return Refuse("model.width", width, absl::StrCat("is not a multiple of model.levels.0.chunk = ", chunk),
                  absl::StrCat("the token embedding is width / chunk wide; ", NearestMultiples(width, chunk)));
  }
  return absl::OkStatus();
}

absl::Status ValidateLevels(const ModelConfig& model) {
  if (model.levels_size() > kMostLevels) {
    return Refuse("model.levels", model.levels_size(), "is the number of levels, and too large",
                  absl::StrCat("use ", kMostLevels, " or less"));
  }
  int64_t product = 1;
  for (int l = 0; l < model.levels_size(); ++l) {
    const LevelConfig& level = model.levels(l);
    const std::string at = absl::StrCat("model.levels.", l, ".");
    if (absl::Status s = Within(at + "chunk", level.chunk(), 1, kLargestChunk); !s.ok()) return s;
    if (absl::Status s = Within(at + "prefix", level.prefix(), 1, kLargestChunk); !s.ok()) return s;
    if (absl::Status s = Within(at + "encoder_layers", level.encoder_layers(), 1, kMostLayers); !s.ok()) return s;
    if (absl::Status s = Within(at + "decoder_layers", level.decoder_layers(), 1, kMostLayers); !s.ok()) return s;
    product *= level.chunk();
    if (product >= kMostTokensPerUnit) {
      return Refuse(at + "chunk", level.chunk(),
                    absl::StrCat("makes units of ", product, " tokens, longer than any sequence"),
                    "use smaller chunks or fewer levels");
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateDepth(const ModelConfig& model) {
  if (model.levels_size() > 0 && model.has_layers()) {
    return Refuse("model.layers", model.layers(), "is the depth of a flat model, but there are model.levels",
                  "remove model.layers (levels have encoder_layers and decoder_layers), or clear model.levels");
  }
  if (model.levels_size() == 0 && !model.has_layers()) {
    return absl::InvalidArgumentError(
        "model.levels and model.layers are both missing: give levels { .. } for a hierarchical model, or layers for a "
        "flat one");
  }
  return model.levels_size() == 0 ? Within("model.layers", model.layers(), 1, kMostLayers) : ValidateLevels(model);
}

}  // namespace

int64_t ChunkProduct(const ModelConfig& config, int level) {
  int64_t product = 1;
  for (int l = 0; l < level; ++l) product *= config.levels(l).chunk();
  return product;
}

int64_t ChunkProduct(const ModelConfig& config) { return ChunkProduct(config, config.levels_size()); }

int32_t KvHeads(const ModelConfig& config) { return config.has_kv_heads() ? config.kv_heads() : config.heads(); }

int32_t HeadDim(const ModelConfig& config) { return config.width() / config.heads(); }

absl::Status ValidateModel(const ModelConfig& model) {
  if (absl::Status s = Within("model.vocab_size", model.vocab_size(), 1, kLargestVocabulary); !s.ok()) return s;
  if (absl::Status s = Within("model.width", model.width(), 1, kLargestWidth); !s.ok()) return s;
  if (absl::Status s = Within("model.ffn", model.ffn(), 1, kLargestFfn); !s.ok()) return s;
  if (absl::Status s = AtLeast("model.heads", model.heads(), 1); !s.ok()) return s;
  if (absl::Status s = ValidateDepth(model); !s.ok()) return s;
  if (absl::Status s = ValidateWidth(model); !s.ok()) return s;
  if (absl::Status s = Above("model.rope_theta", model.rope_theta(), 0); !s.ok()) return s;
  return Above("model.norm_eps", model.norm_eps(), 0);
}

}  // namespace photon
