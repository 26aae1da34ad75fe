#include "model/chain.h"

#include "absl/strings/str_cat.h"

namespace photon {
namespace {

void AddStack(ModelItem::Kind kind, int level, int layers, bool whole, std::vector<ModelItem>* items) {
  const char* name = kind == ModelItem::Kind::kEncoder ? "encoder " : "decoder ";
  const int each = whole ? layers : 1;
  for (int begin = 0; begin < layers; begin += each) {
    const std::string layer = whole ? "" : absl::StrCat(", layer ", begin);
    items->push_back({.kind = kind,
                      .level = level,
                      .begin = begin,
                      .end = begin + each,
                      .first = begin == 0,
                      .last = begin + each == layers,
                      .name = absl::StrCat(name, level, layer)});
  }
}

}  // namespace

std::vector<ModelItem> ItemsOf(const ModelConfig& config) {
  std::vector<ModelItem> items;
  const int top = config.levels_size();
  if (top == 0) AddStack(ModelItem::Kind::kEncoder, 1, config.layers(), false, &items);
  for (int l = 1; l <= top; ++l)
    AddStack(ModelItem::Kind::kEncoder, l, config.levels(l - 1).encoder_layers(), false, &items);
  for (int l = top; l >= 1; --l) {
    const bool whole = l > 1 && config.contents() == ModelConfig::RECONSTRUCTED;
    AddStack(ModelItem::Kind::kDecoder, l, config.levels(l - 1).decoder_layers(), whole, &items);
  }
  items.push_back({.kind = ModelItem::Kind::kHead, .name = "head"});
  return items;
}

}  // namespace photon
