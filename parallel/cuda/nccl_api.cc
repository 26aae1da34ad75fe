#include "parallel/cuda/nccl_api.h"

#include <dlfcn.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace photon::cuda {
namespace {

absl::StatusOr<NcclApi> Load() {
  void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::UnavailableError(absl::StrCat(
        "NCCL can't be loaded: ", dlerror(),
        ". Install libnccl2, or put the folder of PyTorch's wheel (nvidia/nccl/lib) into LD_LIBRARY_PATH"));
  }
  NcclApi api;
  std::string missing;
  const auto find = [&](auto* function, const char* name) {
    void* symbol = dlsym(library, name);
    if (symbol == nullptr) absl::StrAppend(&missing, missing.empty() ? "" : ", ", name);
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(symbol);
  };
  find(&api.GetVersion, "ncclGetVersion");
  find(&api.GetUniqueId, "ncclGetUniqueId");
  find(&api.CommInitRank, "ncclCommInitRank");
  find(&api.CommSplit, "ncclCommSplit");
  find(&api.CommDestroy, "ncclCommDestroy");
  find(&api.CommAbort, "ncclCommAbort");
  find(&api.CommGetAsyncError, "ncclCommGetAsyncError");
  find(&api.GetErrorString, "ncclGetErrorString");
  find(&api.GetLastError, "ncclGetLastError");
  find(&api.AllReduce, "ncclAllReduce");
  find(&api.ReduceScatter, "ncclReduceScatter");
  find(&api.AllGather, "ncclAllGather");
  find(&api.Broadcast, "ncclBroadcast");
  if (missing.empty()) return api;
  return absl::UnavailableError(absl::StrCat("this NCCL is too old (2.18 or later is needed): it has no ", missing));
}

}  // namespace

absl::StatusOr<const NcclApi*> LoadNccl() {
  static const absl::StatusOr<NcclApi> api = Load();
  if (!api.ok()) return api.status();
  return &*api;
}

}  // namespace photon::cuda
