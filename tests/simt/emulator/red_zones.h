// Red zones around every tensor: what writes past one, inside the arena's slab, ends the program.
#pragma once

#include <memory>

#include "core/device.h"

namespace photon::simt {

// `device`, an emulated GPU, but blocks of memory that its contexts take have NaN (0xff bytes) before and after them:
// what a kernel reads there shows in its results. Whether anybody wrote there is looked at in the order of the device's
// stream, once the last user of the block has run.
std::unique_ptr<OpenedDevice> WithRedZones(std::unique_ptr<OpenedDevice> device);

}  // namespace photon::simt
