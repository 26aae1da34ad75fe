// The files of a corpus: names and patterns to a list, in an order that depends on nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"

namespace photon {

struct InputFile {
  std::string path;
  int64_t bytes = 0;        // on disk, packed where it is packed; 0 for a pipe
  int64_t modified_ns = 0;  // time of the last change; 0 for a pipe
  bool is_pipe = false;     // or a device: can be read only once
  bool operator==(const InputFile& other) const {
    return path == other.path && bytes == other.bytes && modified_ns == other.modified_ns;
  }
};

// Files as given; what is no file's name but has *, ? or [..] in it stands for the files that match, sorted by bytes.
// kNotFound names a file that is missing or a pattern that nothing matches; kInvalidArgument one that is there twice.
absl::StatusOr<std::vector<InputFile>> FindInputFiles(const std::vector<std::string>& names);

// kFailedPrecondition where the file is no longer what was found.
absl::Status CheckUnchanged(const InputFile& file);

// JSON lines by name: *.jsonl, *.jsonl.gz, *.jsonl.zst.
bool IsJsonLines(const std::string& path);
// By name: *.gz, *.zst.
bool IsPacked(const std::string& path);

}  // namespace photon
