#include "launch/threads.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/match.h"

namespace photon {
namespace {

// True where the launcher narrowed this rank's cores. Cores merely withheld from the whole job (a container) don't
// count: those are still shared by the ranks.
bool BoundByLauncher(const Environment& environment) {
  const auto contains = [&](const char* name, const char* part) {
    const char* text = environment(name);
    return text != nullptr && absl::StrContains(text, part);
  };
  if (environment("OMPI_COMM_WORLD_RANK") != nullptr) return contains("OMPI_MCA_orte_bound_at_launch", "1");
  return contains("SLURM_CPU_BIND_TYPE", "mask") || contains("SLURM_CPU_BIND_TYPE", "map");
}

}  // namespace

int ThreadsForRank(int cores, const Environment& environment) {
  if (BoundByLauncher(environment)) return std::max(1, cores);
  return std::max(1, cores / LocalRanks(environment));
}

void SetThreads() {
  const Environment environment = ProcessEnvironment();
  if (environment("OMP_NUM_THREADS") != nullptr) return;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const bool known = sched_getaffinity(0, sizeof(allowed), &allowed) == 0;
  omp_set_num_threads(ThreadsForRank(known ? CPU_COUNT(&allowed) : omp_get_num_procs(), environment));
}

bool CanStartAnew(const std::string& program, const Environment& environment) {
  const std::string name = std::filesystem::path(program).filename().string();
  if (absl::StartsWith(name, "ld-") || absl::StartsWith(name, "ld.so")) return false;
  const char* preload = environment("LD_PRELOAD");
  return preload == nullptr || !absl::StrContains(preload, "vgpreload");
}

void BoundSpinning(char** argv) {
  const Environment environment = ProcessEnvironment();
  if (environment("GOMP_SPINCOUNT") != nullptr || environment("OMP_WAIT_POLICY") != nullptr) return;
  std::error_code error;
  // The path itself: started as /proc/self/exe, the process would be called "exe".
  const std::string path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error || !CanStartAnew(path, environment)) return;
  if (setenv("GOMP_SPINCOUNT", "10000", /*overwrite=*/1) != 0) return;  // without it, this would never end
  execv(path.c_str(), argv);                                            // returns only where it fails: then as before
}

}  // namespace photon
