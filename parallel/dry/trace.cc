#include "parallel/dry/trace.h"

namespace photon::dry {

double Trace::computing() const {
  double seconds = after;
  for (const TracedCall& call : calls) seconds += call.before;
  return seconds;
}

int32_t Descriptions::Number(absl::string_view text) {
  const absl::MutexLock lock(&mutex_);
  const auto [found, added] = numbers_.try_emplace(text, static_cast<int32_t>(texts_.size()));
  if (added) texts_.emplace_back(text);
  return found->second;
}

std::string Descriptions::Text(int32_t number) const {
  const absl::MutexLock lock(&mutex_);
  return texts_[number];
}

}  // namespace photon::dry
