// What known devices can do, from their makers' data sheets: the assumptions of predictions for machines that are not
// at hand. Everything can be overridden (photon plan --peak, --bandwidth, ..).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace photon::dry {

struct DeviceFigures {
  std::string name;
  double memory = 0;             // bytes
  double memory_bandwidth = 0;   // bytes a second
  double peak_bf16 = 0;          // FLOP/s of dense products, accumulated in f32
  double peak_f32 = 0;           // FLOP/s of f32 products
  double link_bandwidth = 0;     // bytes a second and direction that a device sends to others of its node
  double network_bandwidth = 0;  // bytes a second and direction that it sends to other nodes
  int devices_per_node = 8;
  std::string source;

  // What no data sheet says. Shares of the peaks that large operations reach, and seconds.
  double product_share = 0.75;     // of the peak, by the largest products
  double attention_share = 0.4;    // of the peak, by attention over long sequences
  double bandwidth_share = 0.8;    // of the memory's and the links' bandwidth
  double launch = 3e-6;            // of an operation's seconds, however small it is
  double link_latency = 5e-6;      // of a message inside a node
  double network_latency = 12e-6;  // of one between nodes
};

// "h200", "h100", "a100". kInvalidArgument for another name, with the known ones.
absl::StatusOr<DeviceFigures> FiguresOf(absl::string_view name);
std::vector<std::string> KnownDevices();

}  // namespace photon::dry
