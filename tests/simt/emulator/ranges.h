// A tool that listens to NVTX (tests/simt/nvtx3/nvToolsExt.h), for tests.
#pragma once

#include <string>
#include <vector>

namespace photon::simt {

// Off at first, as without a tool. Switching forgets what was heard.
void ListenToRanges(bool on);
// Every range so far in the order of its beginning, with the names of those around it: "step/forward".
std::vector<std::string> RangesHeard();
int OpenRanges();

}  // namespace photon::simt
