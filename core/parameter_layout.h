// Where groups of parameters lie in the flat buffers: a pure function of sizes, placements and the mesh.
//
// Groups that are split, summed and staged alike make a *class* and lie together, in the order in which they were
// added: a reduction, a shard and a norm are a few contiguous ranges. Classes stand in the order of their keys, on
// every rank that has them: ranks that work through them one by one never wait for each other in a circle, even where a
// pipeline's stages have different ones.
//
// A class is cut into *buckets* of whole groups: what is reduced, and gathered, in one call. Where state is sharded,
// the ranks that sum a class share each of its buckets evenly. (Evenly within the class would make fewer pieces; but
// then a bucket would be one rank's alone, and all the others would send to that one at once.)
#pragma once

#include <cstdint>
#include <vector>

#include "core/placement.h"

namespace photon {

struct FlatGroup {
  int64_t elements = 0;
  AxisSet split, summed;  // axes of more than one rank
  bool staged = false;    // on one of several pipeline stages
  bool copied = false;    // computed with by copies in another type
};

struct FlatClass {
  AxisSet split, summed;
  bool staged = false;
  bool copied = false;         // where shards are asked for, copied groups have classes of their own, behind all others
  int64_t begin = 0, end = 0;  // elements of the flat buffers
};

struct FlatBucket {
  int in_class = 0;
  std::vector<int> groups;     // those added n-th, in their order here
  int64_t begin = 0, end = 0;  // elements of the flat buffers, gaps included
  // What this rank keeps of it, in the flat buffers, and the same in buffers that hold nothing else. Everything, at the
  // same place, where there are no shards.
  int64_t own_begin = 0, own_end = 0;
  int64_t shard_begin = 0;
  int64_t shard_end() const { return shard_begin + own_end - own_begin; }
};

struct FlatLayout {
  std::vector<int64_t> group_begin;  // by group
  std::vector<FlatClass> classes;
  std::vector<FlatBucket> buckets;  // of the first class first
  int64_t elements = 0;             // of a flat buffer
  int64_t shard_elements = 0;       // of a buffer of what this rank keeps
  // The first element of copied classes, in either; the end where there are none, or no shards.
  int64_t copied_begin = 0, copied_shard_begin = 0;
};

// Groups begin at multiples of kGroupAlignment elements. A bucket takes groups until it has `bucket_elements`.
inline constexpr int64_t kGroupAlignment = 64;  // elements: whole cache lines in every type
int64_t RoundUpToAlignment(int64_t elements);
FlatLayout LayOut(const std::vector<FlatGroup>& groups, const MeshCoordinates& at, bool sharded,
                  int64_t bucket_elements);

}  // namespace photon
