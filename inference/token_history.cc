#include "inference/token_history.h"

namespace photon {

TokenHistory::Entry& TokenHistory::At(int32_t token) {
  const auto [found, fresh] = index_.try_emplace(token, static_cast<int32_t>(entries_.size()));
  if (fresh) entries_.push_back({token, 0});
  return entries_[found->second];
}

void TokenHistory::AddPrompt(absl::Span<const int32_t> tokens) {
  for (const int32_t token : tokens) At(token);
}

void TokenHistory::AddGenerated(int32_t token) { ++At(token).generated; }

int32_t TokenHistory::generated(int32_t token) const {
  const auto found = index_.find(token);
  return found == index_.end() ? 0 : entries_[found->second].generated;
}

}  // namespace photon
