// How much memory a process can still take.
#pragma once

#include <cstdint>
#include <string>

namespace photon {

// Bytes that can be taken without swapping: what the machine has left, or what the limits on this process's control
// group and on those above it leave (cgroup v2 and v1), whichever is least. File caches that can be dropped at once
// count as free. -1 where nothing says. Other processes draw on the same: ranks of one machine must add up their needs.
// `root`: the folder that holds proc/ and sys/, for tests.
int64_t AvailableMemory(const std::string& root = "");

}  // namespace photon
