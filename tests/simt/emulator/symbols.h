// The symbols of the running program: names of kernels, and where their static __shared__ variables are.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace photon::simt {

// The name of the function at `address`, as the linker knows it; empty where the program is stripped.
std::string MangledName(const void* address);

struct StaticShared {
  size_t offset;  // from the beginning of the program's thread-local memory
  size_t bytes;
};
// The thread-local variables inside the function at `address` itself, not those of functions that it calls.
std::vector<StaticShared> StaticSharedOf(const void* address);
// The program's thread-local memory of this thread.
char* ThreadLocalMemory();

}  // namespace photon::simt
