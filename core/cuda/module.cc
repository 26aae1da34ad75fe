#include "core/cuda/module.h"

#include "core/cuda/opened_device.h"
#include "parallel/cuda/nccl.h"

extern "C" __attribute__((visibility("default"))) const photon::cuda::Module* PhotonCudaModule() {
  static const photon::cuda::Module kModule = {PHOTON_INTERFACE, photon::cuda::CountDevices,
                                               photon::cuda::OpenCudaDevice, photon::cuda::CheckNccl,
                                               photon::cuda::OpenNccl};
  return &kModule;
}
