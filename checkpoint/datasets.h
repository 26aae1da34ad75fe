// The HDF5 side of a checkpoint: a rank's file of parts, the index over all of them, and reading part of a part.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "checkpoint/hdf5_image.h"
#include "checkpoint/store.h"

namespace photon {

// Each part becomes a contiguous dataset under the name beside it. The parts' values must stay until the image, named
// `file`, is written.
struct NamedPart {
  std::string dataset;
  const TensorPart* part;
};
absl::StatusOr<Hdf5Image> PartsImage(const std::string& file, const std::vector<NamedPart>& parts);

// index.h5: a virtual dataset for each tensor, under its name. Sources are named relative to the index, which HDF5
// looks up beside it: the folder may be moved.
absl::StatusOr<Hdf5Image> IndexImage(const Manifest& manifest);

// Copies `box` (global coordinates) of a shard stored in `dir` to its place in `out`, which holds `region` of the
// tensor. kDataLoss with the file's name and HDF5's reason, kNotFound where the file is absent.
absl::Status ReadShardBox(const std::string& dir, const ManifestShard& shard, const Region& box, const Region& region,
                          const Tensor& out);

}  // namespace photon
