#include "core/cuda/nvtx_marker.h"

#include <nvtx3/nvToolsExt.h>

namespace photon::cuda {
namespace {

class Marker : public RangeMarker {
 public:
  void Push(const std::string& name) override { nvtxRangePushA(name.c_str()); }
  void Pop() override { nvtxRangePop(); }
};

}  // namespace

std::unique_ptr<RangeMarker> NvtxMarker() {
  // A negative depth: nobody keeps count.
  if (nvtxRangePushA("photon") < 0) return nullptr;
  nvtxRangePop();
  return std::make_unique<Marker>();
}

}  // namespace photon::cuda
