#include "inference/server/held_tokens.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace photon {

HeldTokens::HeldTokens(std::shared_ptr<const Tokenizer> tokenizer, absl::Span<const int32_t> prompt)
    : tokenizer_(std::move(tokenizer)), stream_(tokenizer_) {
  if (tokenizer_ == nullptr) return;
  for (const int32_t id : prompt) stream_.Push(id);
}

std::vector<Choice> HeldTokens::Release(absl::Span<const Choice> tokens, size_t shown) {
  held_.insert(held_.end(), tokens.begin(), tokens.end());
  if (tokenizer_ == nullptr) return Rest();
  shown_ += shown;
  for (size_t i = held_.size() - tokens.size(); i < held_.size(); ++i) {
    const size_t bytes = stream_.Push(held_[i].token).size();
    text_ += bytes;
    if (bytes > 0) ends_.resize(i, text_);
    const bool finished = TextStream(stream_).Finish().empty();
    if (finished) ends_.resize(i + 1, text_);
  }
  const auto behind = [this](size_t end) { return end > shown_; };
  return Take(std::find_if(ends_.begin(), ends_.end(), behind) - ends_.begin());
}

std::vector<Choice> HeldTokens::Rest() { return Take(held_.size()); }

std::vector<Choice> HeldTokens::Take(size_t count) {
  const auto end = held_.begin() + static_cast<int64_t>(count);
  std::vector<Choice> taken(std::make_move_iterator(held_.begin()), std::make_move_iterator(end));
  held_.erase(held_.begin(), end);
  ends_.erase(ends_.begin(), ends_.begin() + static_cast<int64_t>(std::min(count, ends_.size())));
  return taken;
}

}  // namespace photon
