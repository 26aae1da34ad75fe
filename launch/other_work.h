// For commands whose result is how fast something goes.
#pragma once

namespace photon {

// On stderr, where other programs keep cores of this machine busy. To be called before any work of one's own.
void WarnOfOtherWork();

}  // namespace photon
