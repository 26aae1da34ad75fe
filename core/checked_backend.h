// A device's operations, each followed by a look at what it wrote: the first NaN or infinity is found where it comes
// into being, not where a loss has become NaN some thousand operations later.
//
// Each operation is waited for, and its results are read once more: far slower, for looking into a failure. Results are
// the same to the bit.
#pragma once

#include <stdexcept>

#include "core/backend.h"

namespace photon {

// Thrown by the operation that met it. Says operation, device, and of each tensor name, type, shape and what is wrong.
// The device goes on working, but what was computed is worth nothing.
class NotFinite : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A table of `unchecked`'s operations with the check. Contexts that point to it are not copied into recordings: an
// operation waits.
class CheckedBackend : public Backend {
 public:
  explicit CheckedBackend(const Backend& unchecked);
  const Backend& unchecked() const { return unchecked_; }

 private:
  const Backend& unchecked_;
};

}  // namespace photon
