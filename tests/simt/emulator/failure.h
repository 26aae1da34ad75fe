// Ending the program where a kernel did what a GPU would not forgive.
#pragma once

#include <string>

namespace photon::simt {

// Writes `message` to stderr, with the kernel, block and thread that runs, if one does, and aborts.
[[noreturn]] void Fail(const std::string& message);

// What runs in this thread of the host: "kernel ScaleKernel(float*, int), block (0, 0, 0) of (4, 1, 1), thread ..".
// Empty outside kernels.
std::string WhereNow();

// The name of the function at `address` in this program, demangled; the address itself where the program is stripped.
std::string FunctionName(const void* address);

}  // namespace photon::simt
