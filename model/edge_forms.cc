#include "model/edge_forms.h"

#include <algorithm>

#include "configs/model_config.h"

namespace photon {

pipeline::EdgeForms FormsOf(const LanguageModel& model, const ModelInput& input, const pipeline::Layout& layout) {
  const ModelConfig& config = model.config();
  const ModelLayout& ranks = model.layout();
  const int64_t tokens = input.sequences() * input.length();
  // Rows of level-l units (l = 0: tokens) in a share.
  const auto units = [&](int l, Share share) { return tokens / ChunkProduct(config, l) / ranks.span(share).count; };
  const auto split = [](const StackLayout& stack) { return stack.tensor == nullptr ? 1 : stack.tensor->size(); };
  const auto rows = [&](const ModelItem& item) -> int64_t {
    const int l = item.level;
    if (item.kind == ModelItem::Kind::kEncoder) {
      const int level = model.levels() == 0 ? 0 : l;
      if (!item.last) {
        const int64_t all = ranks.everywhere(l) ? tokens / ChunkProduct(config, level) : units(level, ranks.encoder(l));
        return all / split(ranks.EncoderStack(l));
      }
      // The top encoder's is shifted already, and in its decoder's share.
      return units(level, level > 0 && level == model.levels() ? ranks.decoder(l) : ranks.encoder(l));
    }
    const LevelConfig& c = config.levels(l - 1);
    if (!item.last) return units(l, ranks.decoder(l)) * (c.prefix() + c.chunk() - 1) / split(ranks.DecoderStack(l));
    return units(l - 1, ranks.decoder(std::max(l - 1, 1)));
  };
  pipeline::EdgeForms forms;
  for (const pipeline::Edge& edge : layout.edges()) {
    forms.push_back({{.shape = {rows(model.items()[edge.item]), config.width()}, .dtype = model.master_type()}});
  }
  return forms;
}

}  // namespace photon
