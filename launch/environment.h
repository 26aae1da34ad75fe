// What the launcher (mpirun, srun, PHOTON_RANK) says about this process before the ranks are connected.
#pragma once

#include <functional>

namespace photon {

// std::getenv, or a table in tests. nullptr where a variable is unset.
using Environment = std::function<const char*(const char*)>;
Environment ProcessEnvironment();

// This process's rank; 0 under no launcher.
int LauncherRank(const Environment& environment);
// Its place among the ranks of this machine; 0 under no launcher.
int LocalRank(const Environment& environment);
// How many ranks run on this machine, this one included; 1 under no launcher.
int LocalRanks(const Environment& environment);

}  // namespace photon
