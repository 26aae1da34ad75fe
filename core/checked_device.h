// A device whose contexts check every operation (core/checked_backend.h): --check and training.check.
#pragma once

#include <memory>

#include "core/device.h"

namespace photon {

// `device`, but each operation throws NotFinite where it wrote what is not finite. It records nothing: operations wait.
std::unique_ptr<OpenedDevice> CheckedDevice(std::unique_ptr<OpenedDevice> device);

}  // namespace photon
