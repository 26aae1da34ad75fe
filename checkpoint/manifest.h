// The manifest of a checkpoint as text, guarded by a checksum of its own.
//
// The first line is a comment, "# photon checkpoint 1 xxh3-128 <32 hex digits>": the format's version and the checksum
// of everything after that line. So the version is known before anything is parsed, and no byte can flip unseen.
#pragma once

#include <string>

#include "configs/checkpoint.pb.h"
#include "core/dtype.h"
#include "core/placement.h"
#include "core/status.h"

namespace photon {

inline constexpr int kCheckpointFormat = 1;
inline constexpr char kManifestName[] = "manifest.textproto";
inline constexpr char kIndexName[] = "index.h5";

std::string ManifestToText(const Manifest& manifest);
// kDataLoss for damage ("checksum" in the message), kFailedPrecondition for another format version. Messages do not
// name the file; the caller does.
absl::StatusOr<Manifest> ManifestFromText(const std::string& text);

Shape GlobalShape(const ManifestTensor& tensor);
Region ShardRegion(const ManifestShard& shard);
bool StorableDType(DType dtype);  // f64, f32, i64, i32, u8: masters are never bf16

// Checks that the shards lie inside the tensor and cover every element exactly once. kInternal with name and regions.
absl::Status CheckCoverage(const ManifestTensor& tensor);
// The box that both share; an empty shape (rank 0) where they share none. Ranks are equal.
Region Intersect(const Region& a, const Region& b);
bool Overlap(const Region& a, const Region& b);
std::string ToString(const Region& region);  // "[2, 3] at [0, 4]"

}  // namespace photon
