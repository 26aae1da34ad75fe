#include "plan/memory_check.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "configs/config.h"
#include "configs/validate_layout.h"
#include "core/human.h"
#include "plan/dry_run.h"

namespace photon {
namespace {

constexpr size_t kTried = 12, kSuggested = 3;

absl::StatusOr<MemoryUse> MemoryOf(const RunConfig& config, int rank, int ranks) {
  PHOTON_ASSIGN_OR_RETURN(const DryRun run,
                          RunDry(Resolved(config, ranks), ranks, {.only = rank, .extrapolate = true}));
  return run.ranks.front().memory;
}

// Of that layout, each stage of ZeRO that is worth trying, the least first.
std::vector<RunConfig> Variants(const RunConfig& config, const LayoutSizes& sizes) {
  std::vector<RunConfig> variants;
  for (int stage = config.parallel().shard(); stage <= ParallelConfig::GRADIENTS; ++stage) {
    if (stage != config.parallel().shard() && sizes.dp * sizes.cp == 1) continue;
    RunConfig& variant = variants.emplace_back(config);
    ParallelConfig& parallel = *variant.mutable_parallel();
    SetSizes(sizes, &parallel);
    parallel.set_shard(static_cast<ParallelConfig::Shard>(stage));
  }
  return variants;
}

std::string Suggestions(const RunConfig& config, int ranks, double memory) {
  const absl::StatusOr<LayoutSizes> wanted = SizesOfLayout(config.parallel(), ranks);
  if (!wanted.ok()) return "";
  std::vector<std::string> found;
  for (const LayoutSizes& sizes : LayoutsThatFit(config, ranks, *wanted, kTried)) {
    for (const RunConfig& variant : Variants(config, sizes)) {
      const absl::StatusOr<MemoryUse> use = MemoryOf(variant, 0, ranks);
      if (!use.ok() || static_cast<double>(use->peak()) > memory) continue;
      const int stage = variant.parallel().shard();
      found.push_back(absl::StrCat(
          sizes.ToString(),
          stage > 0 ? absl::StrCat(", shard: ", ParallelConfig::Shard_Name(variant.parallel().shard())) : "", " (",
          HumanBytes(use->peak()), ")"));
      break;
    }
    if (found.size() == kSuggested) break;
  }
  return found.empty() ? "" : absl::StrCat(". Layouts of ", ranks, " rank(s) that fit: ", absl::StrJoin(found, "; "));
}

}  // namespace

absl::Status FitsMemory(const RunConfig& config, int rank, int ranks, double memory) {
  PHOTON_ASSIGN_OR_RETURN(const MemoryUse use, MemoryOf(config, rank, ranks));
  if (static_cast<double>(use.peak()) <= memory) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "rank ", rank, " needs ", HumanBytes(use.peak()), " of memory and has ", HumanBytes(static_cast<int64_t>(memory)),
      ": masters ", HumanBytes(use.masters), ", moments ", HumanBytes(use.moments), ", gradients ",
      HumanBytes(use.gradients), ", compute copies ", HumanBytes(use.copies), ", activations ",
      HumanBytes(use.activations), "; lower training.micro_batch_sequences or slice_tokens, or see ", "photon plan",
      Suggestions(config, ranks, memory)));
}

}  // namespace photon
