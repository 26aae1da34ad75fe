#include "data/sources.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "configs/data_weights.h"
#include "core/file.h"
#include "data/token_file_info.h"

namespace photon {
namespace {

void Add(std::string name, std::string prefix, bool weighed, double weight, TrainingSources* sources) {
  if (weighed && weight == 0) return;
  sources->files.push_back({std::move(name), std::move(prefix)});
  if (weighed) sources->weights.push_back(weight);
}

absl::StatusOr<TrainingSources> FindParts(const DataConfig& config, const TokenFileInfo& info) {
  std::map<std::string, double> weights;
  for (const SetWeight& set : config.set_weight()) {
    weights[set.name()] = set.weight();
    if (info.sources.contains(set.name())) continue;
    std::vector<std::string> names;
    for (const auto& [name, count] : info.sources) names.push_back(name);
    return absl::InvalidArgumentError(absl::StrCat("data.set_weight names \"", set.name(), "\", which ", config.train(),
                                                   " has no documents of; it has: ", absl::StrJoin(names, ", ")));
  }
  TrainingSources sources;
  for (const auto& [name, count] : info.sources) {
    if (!weights.empty() && !weights.contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat("data.set_weight leaves out \"", name, "\" of ", config.train(),
                                                     ": give its weight too, or weight: 0 to train without it"));
    }
    if (count.prefix.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("token file ", config.train(), ".json names no file for \"", name, "\"; prepare it again"));
    }
    Add(name, absl::StrCat(ParentFolder(config.train()), "/", count.prefix), !weights.empty(),
        weights.empty() ? 0 : weights[name], &sources);
  }
  return sources;
}

}  // namespace

absl::StatusOr<TrainingSources> FindSources(const DataConfig& config) {
  PHOTON_RETURN_IF_ERROR(ValidateSources(config));
  TrainingSources sources;
  for (const DataSource& source : config.source()) {
    Add(source.prefix(), source.prefix(), source.has_weight(), source.weight(), &sources);
  }
  if (config.train().empty()) return sources;
  PHOTON_ASSIGN_OR_RETURN(const std::optional<TokenFileInfo> info, TokenFileInfo::Read(config.train()));
  if (info.has_value() && info->split()) return FindParts(config, *info);
  if (config.set_weight_size() > 0) {
    return absl::InvalidArgumentError(absl::StrCat("data.set_weight is given, but ", config.train(),
                                                   " has no parts: prepare it with --split-by-source, or remove it"));
  }
  Add(config.train(), config.train(), false, 0, &sources);
  return sources;
}

absl::StatusOr<std::string> FindSetOf(const std::string& part) {
  // The part is called SET.NAME; either may have dots of its own.
  const size_t folder = part.rfind('/') == part.npos ? 0 : part.rfind('/') + 1;
  for (size_t dot = part.rfind('.'); dot != part.npos && dot > folder; dot = part.rfind('.', dot - 1)) {
    const std::string set = part.substr(0, dot);
    PHOTON_ASSIGN_OR_RETURN(const std::optional<TokenFileInfo> info, TokenFileInfo::Read(set));
    if (!info.has_value()) continue;
    for (const auto& [name, count] : info->sources) {
      if (!count.prefix.empty() && count.prefix == part.substr(folder)) return set;
    }
  }
  return std::string();
}

}  // namespace photon
