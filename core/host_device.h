// Marks functions that the host and CUDA kernels share: maps from threads to elements, conversions.
#pragma once

#ifdef __CUDACC__
#define PHOTON_HOST_DEVICE __host__ __device__
#else
#define PHOTON_HOST_DEVICE
#endif
