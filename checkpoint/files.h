// Files and folders that are on disk when a call returns, and their checksums.
#pragma once

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "configs/checkpoint.pb.h"
#include "core/status.h"

namespace photon {

// "cannot write PATH: No space left on device". kResourceExhausted where a disk, quota or size limit is full,
// kPermissionDenied, kNotFound; kInternal for the rest.
absl::Status FileError(int error, absl::string_view what, absl::string_view path);

// 128 bits of XXH3 as 32 hex digits.
std::string Checksum(absl::string_view bytes);
// Size and checksum of an open file (`path` for messages), its name left unset.
absl::StatusOr<ManifestFile> DescribeFile(int fd, absl::string_view path);
absl::StatusOr<ManifestFile> DescribeFile(const std::string& path);

absl::StatusOr<std::string> ReadFile(const std::string& path);
// A new file `path` (replacing one), flushed to disk.
absl::Status WriteFileDurably(const std::string& path, absl::string_view bytes);
// A file written piece by piece through a temporary one beside it and a rename: `path` is never seen half-written, and
// stays what it was on failure.
using ByteSink = std::function<absl::Status(absl::string_view bytes)>;
absl::Status ReplaceFile(const std::string& path, const std::function<absl::Status(const ByteSink& sink)>& write);

// Flushes a folder's entries, or a file's bytes, to disk.
absl::Status SyncPath(const std::string& path);
// The folder that holds `path`; "." for a bare name.
std::string ParentFolder(const std::string& path);
// Removes a file or folder with all in it; absent is OK.
absl::Status RemoveTree(const std::string& path);
// Makes the finished folder `temporary` appear as `final_dir`, durably. A folder that stands there is exchanged in one
// step (renameat2), so that the path names a whole folder at every moment, and then removed; only file systems that
// cannot exchange leave a moment in which it is absent.
absl::Status CommitFolder(const std::string& temporary, const std::string& final_dir);

}  // namespace photon
