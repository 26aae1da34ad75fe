#include "data/publish_prepared.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "core/file.h"
#include "data/finished_set.h"
#include "data/prepare_output.h"
#include "data/tokenizer.h"

namespace photon {
namespace {

// A file that is no longer there has its name already.
absl::Status Rename(const std::string& from, const std::string& to, FileSystem& files) {
  if (files.Rename(from.c_str(), to.c_str()) == 0 || (errno == ENOENT && FileExists(to))) return absl::OkStatus();
  return FileError(errno, "cannot replace", to);
}

using Names = std::vector<std::pair<std::string, std::string>>;  // from, to

absl::Status RenameAll(const Names& names, FileSystem& files) {
  for (const auto& [from, to] : names) PHOTON_RETURN_IF_ERROR(Rename(from, to, files));
  return absl::OkStatus();
}

// Parts of the set before that the new one has not. Its PREFIX.json, which lists them, is still there.
absl::Status RemoveOldParts(const std::string& prefix, const PrepareState& state, FileSystem& files) {
  for (const std::string& part : PartsOf(prefix)) {
    const auto stays = [&](const PrepareState::Output& output) { return OutputPrefix(prefix, output.name) == part; };
    if (std::any_of(state.outputs.begin(), state.outputs.end(), stays)) continue;
    for (const char* ending : {".idx", ".bin", ".json"}) PHOTON_RETURN_IF_ERROR(RemoveFile(part + ending, files));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PublishPrepared(const std::string& folder, const std::string& prefix, const PrepareState& state,
                             const std::string& tokenizer_name, FileSystem& file_system) {
  Names files = {{PartialPrefix(folder, "") + ".json", prefix + ".json"},
                 {folder + "/tokenizer", prefix + "." + tokenizer_name}};
  Names indexes;
  for (const PrepareState::Output& output : state.outputs) {
    const std::string from = PartialPrefix(folder, output.name), to = OutputPrefix(prefix, output.name);
    files.push_back({from + ".bin.tmp", to + ".bin"});
    if (!output.name.empty()) files.push_back({from + ".json", to + ".json"});
    indexes.push_back({from + ".idx.tmp", to + ".idx"});
  }
  if (FileExists(files.front().first)) PHOTON_RETURN_IF_ERROR(RemoveOldParts(prefix, state, file_system));
  const std::string rejects = prefix + ".rejects.jsonl";
  if (state.skipped_lines + state.replaced_lines > 0) {
    files.push_back({folder + "/rejects.jsonl.tmp", rejects});
  } else {
    PHOTON_RETURN_IF_ERROR(RemoveFile(rejects, file_system));
  }
  for (const auto& [from, to] : indexes) {
    if (FileExists(from)) PHOTON_RETURN_IF_ERROR(RemoveFile(to, file_system));
  }
  if (state.call.split_by_source) {
    PHOTON_RETURN_IF_ERROR(RemoveFile(prefix + ".idx", file_system));
    PHOTON_RETURN_IF_ERROR(RemoveFile(prefix + ".bin", file_system));
  }
  for (const char* name : kTokenizerFileNames) {
    if (name != tokenizer_name) PHOTON_RETURN_IF_ERROR(RemoveFile(prefix + "." + name, file_system));
  }
  PHOTON_RETURN_IF_ERROR(SyncPath(ParentFolder(prefix), file_system));  // older indexes are gone for good, then:
  PHOTON_RETURN_IF_ERROR(RenameAll(files, file_system));
  PHOTON_RETURN_IF_ERROR(SyncPath(ParentFolder(prefix), file_system));  // an index may be on disk only when the rest is
  PHOTON_RETURN_IF_ERROR(RenameAll(indexes, file_system));
  return SyncPath(ParentFolder(prefix), file_system);
}

}  // namespace photon
