#include "plan/link_time.h"

#include <algorithm>
#include <cmath>

namespace photon {

dry::CallTime LinkTime(const dry::DeviceFigures& figures) {
  return [figures](const dry::TracedCall& call, const std::vector<int>& members) {
    using dry::CallKind;
    const auto [first, last] = std::minmax_element(members.begin(), members.end());
    const bool one_node = *first / figures.devices_per_node == *last / figures.devices_per_node;
    const double bandwidth = (one_node ? figures.link_bandwidth : figures.network_bandwidth) * figures.bandwidth_share;
    const double latency = one_node ? figures.link_latency : figures.network_latency;
    double rounds = std::ceil(std::log2(static_cast<double>(members.size())));
    auto bytes = static_cast<double>(call.sent);
    if (call.kind == CallKind::kSend || call.kind == CallKind::kPost) rounds = 1;
    if (call.kind == CallKind::kAllReduce) rounds *= 2;
    if (call.kind == CallKind::kBroadcast) bytes = static_cast<double>(call.bytes);  // passed on from rank to rank
    return rounds * latency + bytes / bandwidth;
  };
}

}  // namespace photon
