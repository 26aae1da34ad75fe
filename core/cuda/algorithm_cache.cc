#include "core/cuda/algorithm_cache.h"

#include <spdlog/spdlog.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "core/folder.h"

namespace photon::cuda {
namespace {

using Json = nlohmann::json;

std::string FileName(const std::string& name) {
  std::string file = "matmul-";
  for (const char c : name) file += std::isalnum(static_cast<unsigned char>(c)) ? c : '-';
  return file + ".json";
}

// Numbers as text: JSON's own lose the lower bits of 64.
bool ParseAlgorithm(const Json& json, AlgorithmCache::Algorithm* algorithm) {
  if (!json.is_array() || json.size() != algorithm->size()) return false;
  for (size_t i = 0; i < algorithm->size(); ++i) {
    if (!json[i].is_string() || !absl::SimpleHexAtoi(json[i].get<std::string>(), &(*algorithm)[i])) return false;
  }
  return true;
}

Json AlgorithmJson(const AlgorithmCache::Algorithm& algorithm) {
  Json json = Json::array();
  for (const uint64_t word : algorithm) json.push_back(absl::StrCat(absl::Hex(word)));
  return json;
}

}  // namespace

std::string AlgorithmCache::Folder() {
  if (const char* own = std::getenv("PHOTON_CACHE"); own != nullptr) return own;
  if (const char* caches = std::getenv("XDG_CACHE_HOME"); caches != nullptr) return absl::StrCat(caches, "/photon");
  if (const char* home = std::getenv("HOME"); home != nullptr) return absl::StrCat(home, "/.cache/photon");
  return "";
}

AlgorithmCache::AlgorithmCache(const std::string& folder, const std::string& name) {
  if (folder.empty()) return;
  path_ = absl::StrCat(folder, "/", FileName(name));
  Read();
}

void AlgorithmCache::Read() {
  std::error_code ignored;
  if (!std::filesystem::exists(path_, ignored)) return;
  const absl::StatusOr<std::string> text = ReadFile(path_);
  const Json json = text.ok() ? Json::parse(*text, nullptr, /*allow_exceptions=*/false) : Json();
  if (!json.is_object()) {
    spdlog::warn("{} is damaged and not used: matrix products are timed anew", path_);
    return;
  }
  for (const auto& [shape, value] : json.items()) {
    Algorithm algorithm;
    if (ParseAlgorithm(value, &algorithm)) algorithms_.emplace(shape, algorithm);  // ours before another rank's
  }
}

void AlgorithmCache::Write() {
  Json json = Json::object();
  for (const auto& [shape, algorithm] : algorithms_) json[shape] = AlgorithmJson(algorithm);
  absl::Status written = MakeFolders(std::filesystem::path(path_).parent_path());
  if (written.ok()) written = WriteFile(path_, json.dump(1) + "\n");
  // Another rank writes it just now: what is added here goes with the next write.
  if (written.ok() || absl::IsAlreadyExists(written)) return;
  spdlog::warn("{}: the fastest matrix products are found anew by the next run", std::string(written.message()));
  path_.clear();  // said once
}

std::optional<AlgorithmCache::Algorithm> AlgorithmCache::Find(const std::string& shape) const {
  const auto found = algorithms_.find(shape);
  if (found == algorithms_.end()) return std::nullopt;
  return found->second;
}

void AlgorithmCache::Add(const std::string& shape, const Algorithm& algorithm) {
  algorithms_[shape] = algorithm;
  if (path_.empty()) return;
  Read();
  Write();
}

}  // namespace photon::cuda
