// Looking into a checkpoint: what is there, for people and for programs, and whether it is whole.
#pragma once

#include <string>

#include "core/status.h"

namespace photon {

enum class InspectFormat { kText, kJson };

// Format version, step, tokens seen, the model, tokenizer, tensors with shapes, dtypes and shards, totals, files. Reads
// the manifest only. Errors as CheckpointReader::Open.
absl::StatusOr<std::string> InspectCheckpoint(const std::string& dir, InspectFormat format);

struct VerifyReport {
  std::string text;     // a line a file: "ok   model-00000-of-00002.h5   1.2 MB" or "BAD  .. what and the remedy"
  absl::Status status;  // OK, or the first file's trouble
};
// Checks every file's size and checksum, all of them even after a bad one. `progress`: tells on stderr how far it is.
VerifyReport VerifyCheckpoint(const std::string& dir, bool progress = false);

}  // namespace photon
