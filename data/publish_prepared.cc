#include "data/publish_prepared.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

#include "core/file.h"
#include "data/prepare_output.h"
#include "data/tokenizer.h"

namespace photon {
namespace {

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// A file that is no longer there has its name already.
absl::Status Rename(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) == 0 || (errno == ENOENT && Exists(to))) return absl::OkStatus();
  return FileError(errno, "cannot replace", to);
}

using Names = std::vector<std::pair<std::string, std::string>>;  // from, to

absl::Status RenameAll(const Names& names) {
  for (const auto& [from, to] : names) PHOTON_RETURN_IF_ERROR(Rename(from, to));
  return absl::OkStatus();
}

}  // namespace

absl::Status PublishPrepared(const std::string& folder, const std::string& prefix, const PrepareState& state,
                             const std::string& tokenizer_name) {
  Names files = {{PartialPrefix(folder, "") + ".json", prefix + ".json"},
                 {folder + "/tokenizer", prefix + "." + tokenizer_name}};
  Names indexes;
  for (const PrepareState::Output& output : state.outputs) {
    const std::string from = PartialPrefix(folder, output.name), to = OutputPrefix(prefix, output.name);
    files.push_back({from + ".bin.tmp", to + ".bin"});
    if (!output.name.empty()) files.push_back({from + ".json", to + ".json"});
    indexes.push_back({from + ".idx.tmp", to + ".idx"});
  }
  const std::string rejects = prefix + ".rejects.jsonl";
  if (state.skipped_lines + state.replaced_lines > 0) {
    files.push_back({folder + "/rejects.jsonl.tmp", rejects});
  } else {
    PHOTON_RETURN_IF_ERROR(RemoveFile(rejects));
  }
  for (const auto& [from, to] : indexes) {
    if (Exists(from)) PHOTON_RETURN_IF_ERROR(RemoveFile(to));
  }
  if (state.call.split_by_source) {
    PHOTON_RETURN_IF_ERROR(RemoveFile(prefix + ".idx"));
    PHOTON_RETURN_IF_ERROR(RemoveFile(prefix + ".bin"));
  }
  for (const char* name : kTokenizerFileNames) {
    if (name != tokenizer_name) PHOTON_RETURN_IF_ERROR(RemoveFile(prefix + "." + name));
  }
  PHOTON_RETURN_IF_ERROR(RenameAll(files));
  PHOTON_RETURN_IF_ERROR(SyncPath(ParentFolder(prefix)));  // an index may be on disk only when the rest is
  PHOTON_RETURN_IF_ERROR(RenameAll(indexes));
  return SyncPath(ParentFolder(prefix));
}

}  // namespace photon
