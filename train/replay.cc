#include "train/replay.h"

namespace photon {

void Replay::Run(const Context& context, const std::function<void()>& body) {
  if (graph_ == nullptr) {
    const ZonedAllocator::Scope scope(device_.allocator(), *zone_);
    if (!warm_) {
      body();
      warm_ = true;
      return;
    }
    graph_ = device_.Record(context, body);
  }
  graph_->Launch();
}

}  // namespace photon
