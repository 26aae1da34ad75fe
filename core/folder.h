// Folders that appear whole or not at all.
#pragma once

#include <string>

#include "core/file_system.h"
#include "core/status.h"

namespace photon {

// Removes a folder (or file) with all in it; absent is OK.
absl::Status RemoveTree(const std::string& path, FileSystem& files = RealFileSystem());
// Makes a folder and those above it that are missing.
absl::Status MakeFolders(const std::string& path, FileSystem& files = RealFileSystem());
// Makes the finished folder `temporary` appear as `final_dir`, durably. A folder that stands there is exchanged in one
// step (renameat2), so that the path names a whole folder at every moment, and then removed; only file systems that
// cannot exchange leave a moment in which it is absent.
absl::Status CommitFolder(const std::string& temporary, const std::string& final_dir,
                          FileSystem& files = RealFileSystem());

}  // namespace photon
