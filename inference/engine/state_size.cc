#include "inference/engine/state_size.h"

#include <algorithm>

#include "configs/model_config.h"
#include "core/rounding.h"

namespace photon {

StateSize::StateSize(const Decoder& decoder) {
  const DecodingState empty = decoder.NewState(0);
  const ModelConfig& config = decoder.model().config();
  const int levels = decoder.model().levels();
  const AllocatedBytes held = empty.allocated();
  rows_ = held.rows;
  windows_ = held.windows;
  if (levels > 0) {
    meta_ = ChunkProduct(config);
    unit_row_ = static_cast<int64_t>(empty.top.bytes());
  }
  for (size_t i = 0; i < empty.encoders.size(); ++i) {
    Level level;
    level.bytes = empty.encoders[i]->BytesOf(1);
    const int l = static_cast<int>(i) + 1;
    if (levels > 0) {
      level.tokens = ChunkProduct(config, l);
      level.window = empty.windows[i].allocated_bytes();
      if (l < levels && config.encoder_scope() == ModelConfig::GROUP) level.positions = config.levels(l).chunk();
      meta_windows_ += meta_ / level.tokens * level.window;
    }
    levels_.push_back(level);
  }
}

int64_t StateSize::Caches(int64_t tokens, size_t first) const {
  int64_t bytes = 0;
  for (size_t i = first; i < levels_.size(); ++i) {
    const Level& level = levels_[i];
    bytes +=
        level.bytes * (level.positions > 0 ? level.positions : std::max<int64_t>(RoomFor(tokens / level.tokens), 1));
  }
  return bytes;
}

int64_t StateSize::UnitRows(int64_t prompt) const { return unit_row_ > 0 ? prompt / meta_ * unit_row_ : 0; }

int64_t StateSize::MostByMetaContexts(GenerationMode mode, int64_t prompt, int64_t new_tokens) const {
  const int64_t all = RoundUp(prompt + new_tokens, meta_);
  const size_t first = mode == GenerationMode::kRec ? levels_.size() - 1 : 0;
  return Caches(all, first) + meta_windows_ + rows_;
}

int64_t StateSize::Most(GenerationMode mode, int64_t prompt, int64_t new_tokens) const {
  if (!ByMetaContexts(static_cast<int>(levels_.size()), mode)) return Caches(prompt + new_tokens, 0) + windows_ + rows_;
  const int64_t begins = RoundUp(prompt, meta_);  // exactly, up to the boundary
  return std::max(Caches(begins, 0) + windows_ + rows_, MostByMetaContexts(mode, prompt, new_tokens));
}

}  // namespace photon
