#include "core/check.h"

#include <cstdio>
#include <cstdlib>

namespace photon::internal {

CheckFailure::CheckFailure(const char* file, int line, const char* condition) {
  message_ << "photon: bug at " << file << ":" << line << ": check failed: " << condition << " ";
}

CheckFailure::~CheckFailure() {
  std::fprintf(stderr, "%s\n", message_.str().c_str());
  std::fflush(nullptr);
  // Not abort(): the documented exit code of a bug is 1, and mpirun ends the other ranks on it.
  std::_Exit(1);
}

}  // namespace photon::internal
