#include "data/input_files.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/file.h"

namespace photon {
namespace {

absl::StatusOr<InputFile> Inspect(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return FileError(errno, "input", path);
  if (S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("input ", path, " is a folder: name the files in it, as in '", path, "/*.jsonl'"));
  }
  if (access(path.c_str(), R_OK) != 0) return FileError(errno, "input", path);
  if (!S_ISREG(info.st_mode)) return InputFile{.path = path, .is_pipe = true};
  return InputFile{.path = path,
                   .bytes = info.st_size,
                   .modified_ns = int64_t{1'000'000'000} * info.st_mtim.tv_sec + info.st_mtim.tv_nsec};
}

// A text that is there twice would be learnt twice; more than once is nothing that anyone asks for by overlapping
// patterns.
absl::Status CheckTwice(const std::string& path, const std::string& name,
                        std::map<std::pair<dev_t, ino_t>, std::string>& given_by) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return FileError(errno, "input", path);
  const auto [first, is_new] = given_by.insert({{info.st_dev, info.st_ino}, name});
  if (is_new || !S_ISREG(info.st_mode)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("input ", path, " is there twice, by --input ", first->second,
                                                 " and by ", name, ": give every file once"));
}

absl::StatusOr<std::vector<std::string>> Match(const std::string& pattern) {
  glob_t found = {};
  const absl::Cleanup free_found = [&] { globfree(&found); };
  const int result = glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
  if (result == GLOB_NOMATCH) {
    return absl::NotFoundError(absl::StrCat("input ", pattern, ": no file matches this pattern"));
  }
  if (result != 0) return absl::DataLossError(absl::StrCat("input ", pattern, ": its folder cannot be read"));
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  std::sort(paths.begin(), paths.end());  // glob's own order depends on the locale
  return paths;
}

}  // namespace

absl::StatusOr<std::vector<InputFile>> FindInputFiles(const std::vector<std::string>& names) {
  if (names.empty()) return absl::InvalidArgumentError("no input files: give --input FILES");
  std::vector<InputFile> files;
  std::map<std::pair<dev_t, ino_t>, std::string> given_by;
  for (const std::string& name : names) {
    std::vector<std::string> paths = {name};
    struct stat info;
    const bool pattern = name.find_first_of("*?[") != std::string::npos && stat(name.c_str(), &info) != 0;
    if (pattern) {
      PHOTON_ASSIGN_OR_RETURN(paths, Match(name));
    }
    for (const std::string& path : paths) {
      PHOTON_ASSIGN_OR_RETURN(InputFile file, Inspect(path));
      PHOTON_RETURN_IF_ERROR(CheckTwice(path, name, given_by));
      files.push_back(std::move(file));
    }
  }
  return files;
}

absl::Status CheckUnchanged(const InputFile& file) {
  PHOTON_ASSIGN_OR_RETURN(const InputFile now, Inspect(file.path));
  if (now == file) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("input ", file.path, " changed while it was being read: it has ",
                                                    now.bytes, " bytes, and had ", file.bytes,
                                                    "; when nothing writes to it any more, start over with --fresh"));
}

bool IsJsonLines(const std::string& path) {
  absl::string_view name = path;
  if (!absl::ConsumeSuffix(&name, ".gz")) absl::ConsumeSuffix(&name, ".zst");
  return absl::EndsWith(name, ".jsonl");
}

bool IsPacked(const std::string& path) { return absl::EndsWith(path, ".gz") || absl::EndsWith(path, ".zst"); }

}  // namespace photon
