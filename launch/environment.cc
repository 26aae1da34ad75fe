#include "launch/environment.h"

#include <cstdlib>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace photon {
namespace {

// The first of the variables that holds an integer of at least `least`.
int FirstInteger(const Environment& environment, std::initializer_list<const char*> names, int least, int fallback) {
  for (const char* name : names) {
    const char* text = environment(name);
    int value = 0;
    if (text != nullptr && absl::SimpleAtoi(text, &value) && value >= least) return value;
  }
  return fallback;
}

// SLURM's "4(x2),1": ranks on each node in order, with repetitions. 0 where it can't be read.
int RanksOnNode(absl::string_view list, int node) {
  for (const absl::string_view group : absl::StrSplit(list, ',')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(group, absl::ByAnyChar("(x)"), absl::SkipEmpty());
    int ranks = 0, repeat = 1;
    if (parts.empty() || !absl::SimpleAtoi(parts[0], &ranks)) return 0;
    if (parts.size() > 1 && !absl::SimpleAtoi(parts[1], &repeat)) return 0;
    if (node < repeat) return ranks;
    node -= repeat;
  }
  return 0;
}

}  // namespace

Environment ProcessEnvironment() {
  return [](const char* name) -> const char* { return std::getenv(name); };
}

int LauncherRank(const Environment& environment) {
  return FirstInteger(environment, {"PHOTON_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}, 0,
                      0);
}

int LocalRank(const Environment& environment) {
  return FirstInteger(environment,
                      {"PHOTON_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}, 0, 0);
}

int LocalRanks(const Environment& environment) {
  const int ranks = FirstInteger(environment, {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"}, 1, 0);
  if (ranks > 0) return ranks;
  if (const char* list = environment("SLURM_STEP_TASKS_PER_NODE"); list != nullptr) {
    const int on_node = RanksOnNode(list, FirstInteger(environment, {"SLURM_NODEID"}, 0, 0));
    if (on_node > 0) return on_node;
  }
  return FirstInteger(environment, {"SLURM_NTASKS_PER_NODE"}, 1, 1);
}

}  // namespace photon
