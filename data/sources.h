// Which token files a run's `data` section names for training, and with which weights.
#pragma once

#include <string>
#include <vector>

#include "configs/data.pb.h"
#include "core/status.h"

namespace photon {

struct SourceFile {
  std::string name;  // pile_set_name, or the PREFIX
  std::string prefix;
};

struct TrainingSources {
  std::vector<SourceFile> files;  // at least one
  std::vector<double> weights;    // as many, all above 0; empty: none were given
};

// data.train; or the parts that PREFIX.json lists where it was prepared with --split-by-source, weighed by
// data.set_weight; or data.source. Sources of weight 0 are left out. Reads no token file. kInvalidArgument, naming the
// field and what there is: set_weight of an unknown part, or of a set that has none; parts that set_weight leaves out.
absl::StatusOr<TrainingSources> FindSources(const DataConfig& config);

// PREFIX of the split set (--split-by-source) that the token file `part` is a part of: what all parts share, such as
// the tokenizer, lies there. Empty: it is no part.
absl::StatusOr<std::string> FindSetOf(const std::string& part);

}  // namespace photon
