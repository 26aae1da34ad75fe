#include "study/sizes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "configs/nearest.h"

namespace photon::study {
namespace {

const std::vector<Scale>& Scales() {
  // The feed-forward width is 8/3 of the width, rounded to 16.
  static const auto* scales = new std::vector<Scale>{
      {"tiny",
       {{"d64", 64, 176, 4, 8, 5e11}, {"d96", 96, 256, 6, 8, 1e12}, {"d128", 128, 336, 8, 8, 2e12}},
       /*sequence_length=*/256,
       /*batch_sequences=*/8,
       /*valid_sequences=*/64},
      {"small",
       {{"d192", 192, 512, 3, 12, 1e14}, {"d256", 256, 688, 4, 12, 2e14}, {"d320", 320, 848, 5, 12, 3e14}},
       /*sequence_length=*/512,
       /*batch_sequences=*/16,
       /*valid_sequences=*/256},
      {"medium",
       {{"d512", 512, 1360, 8, 12, 1e16}, {"d768", 768, 2048, 12, 12, 3e16}, {"d1024", 1024, 2736, 16, 12, 1e17}},
       /*sequence_length=*/1024,
       /*batch_sequences=*/32,
       /*valid_sequences=*/256}};
  return *scales;
}

absl::Status Unknown(absl::string_view what, const std::string& name, const std::vector<std::string>& known) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, " ", name, ": there is none of that name", DidYouMean(name, known)));
}

}  // namespace

absl::string_view Name(Kind kind) {
  constexpr absl::string_view kNames[] = {"vanilla", "block", "photon"};
  return kNames[static_cast<int>(kind)];
}

absl::StatusOr<Kind> ParseKind(const std::string& name) {
  std::vector<std::string> known;
  for (const Kind kind : kKinds) {
    if (Name(kind) == name) return kind;
    known.emplace_back(Name(kind));
  }
  return Unknown("--kinds", name, known);
}

absl::StatusOr<Scale> FindScale(const std::string& name) {
  std::vector<std::string> known;
  for (const Scale& scale : Scales()) {
    if (scale.name == name) return scale;
    known.push_back(scale.name);
  }
  return Unknown("--scale", name, known);
}

absl::StatusOr<Scale> WithSizes(Scale scale, const std::vector<std::string>& names) {
  std::vector<std::string> known;
  for (const Size& size : scale.sizes) known.push_back(size.name);
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) == known.end()) return Unknown("--sizes", name, known);
  }
  std::erase_if(scale.sizes,
                [&](const Size& size) { return std::find(names.begin(), names.end(), size.name) == names.end(); });
  return scale;
}

ModelConfig ModelOf(Kind kind, const Size& size, int64_t vocab_size) {
  ModelConfig model;
  model.set_vocab_size(static_cast<int32_t>(vocab_size));
  model.set_width(size.width);
  model.set_ffn(size.ffn);
  model.set_heads(size.heads);
  const int levels = kind == Kind::kVanilla ? 0 : kind == Kind::kBlock ? 1 : 2;
  if (levels == 0) model.set_layers(size.layers);
  for (int l = 0; l < levels; ++l) {
    LevelConfig& level = *model.add_levels();  // chunks of 4 and two prefix vectors, as in the paper, by default
    level.set_encoder_layers(size.layers / (2 * levels));
    level.set_decoder_layers(size.layers / (2 * levels));
  }
  return model;
}

}  // namespace photon::study
