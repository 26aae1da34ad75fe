// The part of NCCL's interface that we use, looked up when it is needed: neither the build nor a run on one GPU asks
// for NCCL. Declared here, since the toolkit doesn't bring its header; these have been the same since NCCL 2.18.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "absl/status/statusor.h"

namespace photon::cuda {

struct NcclUniqueId {
  char bytes[128];
};
using NcclComm = struct ncclComm*;
inline constexpr int kNcclNoColor = -1;  // CommSplit: in no group
enum NcclResult : int { kNcclSuccess = 0, kNcclInProgress = 7 };
enum NcclType : int {
  kNcclUint8 = 1,
  kNcclInt32 = 2,
  kNcclInt64 = 4,
  kNcclFloat32 = 7,
  kNcclFloat64 = 8,
  kNcclBfloat16 = 9
};
enum NcclOperation : int { kNcclSum = 0 };

struct NcclApi {
  NcclResult (*GetVersion)(int* version);
  NcclResult (*GetUniqueId)(NcclUniqueId* id);
  NcclResult (*CommInitRank)(NcclComm* comm, int ranks, NcclUniqueId id, int rank);
  NcclResult (*CommSplit)(NcclComm comm, int color, int key, NcclComm* made, void* config);
  NcclResult (*CommDestroy)(NcclComm comm);
  NcclResult (*CommAbort)(NcclComm comm);
  NcclResult (*CommGetAsyncError)(NcclComm comm, NcclResult* error);
  const char* (*GetErrorString)(NcclResult result);
  const char* (*GetLastError)(NcclComm comm);
  NcclResult (*AllReduce)(const void* in, void* out, size_t count, NcclType, NcclOperation, NcclComm, cudaStream_t);
  NcclResult (*ReduceScatter)(const void* in, void* out, size_t count, NcclType, NcclOperation, NcclComm, cudaStream_t);
  NcclResult (*AllGather)(const void* in, void* out, size_t count, NcclType, NcclComm, cudaStream_t);
  NcclResult (*Broadcast)(const void* in, void* out, size_t count, NcclType, int root, NcclComm, cudaStream_t);
};

// kUnavailable with the reason and the remedy where libnccl.so.2 can't be used. Stays loaded.
absl::StatusOr<const NcclApi*> LoadNccl();

}  // namespace photon::cuda
