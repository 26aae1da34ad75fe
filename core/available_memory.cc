#include "core/available_memory.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/file.h"

namespace photon {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

std::vector<std::string> Lines(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return {};
  return absl::StrSplit(*text, '\n');
}

// The number of the line that begins with `key`, a whole word; -1 where there is none. Empty: of the first line.
int64_t Number(const std::string& path, absl::string_view key = "") {
  for (const std::string& line : Lines(path)) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    const size_t at = key.empty() ? 0 : 1;
    int64_t value = -1;
    if (words.size() > at && (key.empty() || words[0] == key) && absl::SimpleAtoi(words[at], &value)) return value;
  }
  return -1;
}

// Where a version of control groups keeps its figures.
struct GroupFiles {
  const char *mount, *limit, *usage, *cache;
};
constexpr GroupFiles kVersion1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                  "total_inactive_file"};
constexpr GroupFiles kVersion2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"};

// What the limits on `group` and on those above it leave. In a container the group's own folder may be out of sight,
// its limit then stands at the mount's root.
int64_t LeftByLimits(const std::string& root, const GroupFiles& files, const std::filesystem::path& group) {
  int64_t left = kUnlimited;
  for (std::filesystem::path at = group;; at = at.parent_path()) {
    const std::string folder = absl::StrCat(root, files.mount, at.string());
    const int64_t limit = Number(absl::StrCat(folder, "/", files.limit));  // v2 says "max" where there is none
    const int64_t usage = Number(absl::StrCat(folder, "/", files.usage));
    if (limit >= 0 && usage >= 0) {
      const int64_t cache = std::max<int64_t>(Number(absl::StrCat(folder, "/memory.stat"), files.cache), 0);
      left = std::min(left, std::max<int64_t>(limit - std::max<int64_t>(usage - cache, 0), 0));
    }
    if (!at.has_relative_path()) return left;  // "/"
  }
}

}  // namespace

int64_t AvailableMemory(const std::string& root) {
  const int64_t kilobytes = Number(root + "/proc/meminfo", "MemAvailable:");
  int64_t available = kilobytes < 0 ? kUnlimited : kilobytes * 1024;
  for (const std::string& line : Lines(root + "/proc/self/cgroup")) {  // ID:CONTROLLERS:GROUP
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() < 3 || fields[2].empty() || fields[2][0] != '/') continue;
    if (fields[1].empty()) available = std::min(available, LeftByLimits(root, kVersion2, fields[2]));
    const std::vector<absl::string_view> controllers = absl::StrSplit(fields[1], ',');
    if (absl::c_linear_search(controllers, "memory")) {
      available = std::min(available, LeftByLimits(root, kVersion1, fields[2]));
    }
  }
  return available == kUnlimited ? -1 : available;
}

}  // namespace photon
