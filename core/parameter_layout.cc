#include "core/parameter_layout.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "core/rounding.h"

namespace photon {
int64_t RoundUpToAlignment(int64_t elements) { return RoundUp(elements, kGroupAlignment); }

FlatLayout LayOut(const std::vector<FlatGroup>& groups, const MeshCoordinates& at, bool sharded,
                  int64_t bucket_elements) {
  const auto key = [&](int g) {
    const FlatGroup& group = groups[g];
    return std::tuple(sharded && group.copied, group.staged, group.split, group.summed);
  };
  std::vector<int> order(groups.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) < key(b); });

  FlatLayout layout;
  layout.group_begin.resize(groups.size());
  int64_t next = 0;
  const auto close_bucket = [&] {
    if (layout.buckets.empty()) return;
    FlatBucket& bucket = layout.buckets.back();
    const AxisSet summed = layout.classes.back().summed;
    const int64_t ranks = sharded ? at.group_size(summed) : 1;
    next = bucket.begin + RoundUp(next - bucket.begin, ranks * kGroupAlignment);
    const int64_t own = (next - bucket.begin) / ranks;
    bucket.end = next;
    bucket.own_begin = bucket.begin + (sharded ? at.group_rank(summed) : 0) * own;
    bucket.own_end = bucket.own_begin + own;
    bucket.shard_begin = layout.shard_elements;
    layout.shard_elements += own;
    layout.classes.back().end = next;
  };
  for (size_t i = 0; i < order.size(); ++i) {
    const FlatGroup& group = groups[order[i]];
    const bool new_class = i == 0 || key(order[i]) != key(order[i - 1]);
    if (new_class || next - layout.buckets.back().begin >= bucket_elements) {
      close_bucket();
      if (new_class) layout.classes.push_back({group.split, group.summed, group.staged, sharded && group.copied, next});
      layout.buckets.push_back({.in_class = static_cast<int>(layout.classes.size()) - 1, .groups = {}, .begin = next});
    }
    layout.buckets.back().groups.push_back(order[i]);
    layout.group_begin[order[i]] = next;
    next += RoundUpToAlignment(group.elements);
  }
  close_bucket();
  layout.elements = layout.copied_begin = next;
  layout.copied_shard_begin = layout.shard_elements;
  for (auto bucket = layout.buckets.rbegin(); bucket != layout.buckets.rend(); ++bucket) {
    if (!layout.classes[bucket->in_class].copied) break;
    layout.copied_begin = bucket->begin;
    layout.copied_shard_begin = bucket->shard_begin;
  }
  return layout;
}

}  // namespace photon
