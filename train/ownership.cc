#include "train/ownership.h"

#include <algorithm>
#include <map>

namespace photon {

std::vector<bool> OwnedParts(absl::Span<const HeldPart> parts, const MeshCoordinates& at) {
  std::map<AxisSet, std::vector<int64_t>> loads;  // by holders: elements that each of them writes
  std::vector<bool> owned;
  for (const HeldPart& part : parts) {
    const AxisSet holders = at.Proper(part.holders);
    std::vector<int64_t>& load = loads[holders];
    load.resize(at.group_size(holders));
    const auto least = std::min_element(load.begin(), load.end());
    owned.push_back(least - load.begin() == at.group_rank(holders));
    *least += part.elements;
  }
  return owned;
}

}  // namespace photon
