// Which query heads share a key/value head, on every device.
#pragma once

#include "core/host_device.h"

namespace photon::ops {

// The first query head that reads key/value head g, as h reads floor(h * kv_heads / heads); the next one's is the end
// of the range.
PHOTON_HOST_DEVICE inline int FirstQueryHead(int g, int heads, int kv_heads) {
  return (g * heads + kv_heads - 1) / kv_heads;
}

}  // namespace photon::ops
