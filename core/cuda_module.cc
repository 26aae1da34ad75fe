#include "core/cuda_module.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace photon {
namespace {

namespace fs = std::filesystem;

// $PHOTON_CUDA_MODULE; else beside the program, in the lib folder of an installation, or where it was built.
std::optional<fs::path> FindModule() {
  std::error_code ignored;
  if (const char* given = std::getenv("PHOTON_CUDA_MODULE"); given != nullptr) return fs::path(given);
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& folder : {program, program.parent_path() / "lib", fs::path(PHOTON_BUILD_FOLDER)}) {
    if (fs::exists(folder / cuda::kModuleFile, ignored)) return folder / cuda::kModuleFile;
  }
  return std::nullopt;
}

std::string LoaderError() {
  const char* error = dlerror();
  return error == nullptr ? "unknown error" : error;
}

absl::Status CannotLoad(const fs::path& path, const std::string& error) {
  std::string remedy;
  if (absl::StrContains(error, "libcublasLt.so")) {
    remedy =
        "; it is part of the CUDA 13 toolkit and of the Python package nvidia-cublas (pip install nvidia-cublas): put "
        "the folder that holds it into LD_LIBRARY_PATH";
  } else if (absl::StrContains(error, "libnccl.so")) {
    remedy =
        "; it is Debian's libnccl2 and the Python package nvidia-nccl-cu13: put the folder that holds it into "
        "LD_LIBRARY_PATH";
  }
  return absl::UnavailableError(absl::StrCat("cannot load ", path.string(), ": ", error, remedy));
}

absl::StatusOr<const cuda::Module*> Load() {
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) == nullptr) {
    return absl::NotFoundError(absl::StrCat("no NVIDIA driver: ", LoaderError()));
  }
  const std::optional<fs::path> path = FindModule();
  if (!path.has_value()) {
    return absl::UnavailableError(absl::StrCat(
        "there is no ", cuda::kModuleFile,
        " beside the program: where the program is built, nvcc (CUDA 13) must be found; or name the module's file in "
        "PHOTON_CUDA_MODULE"));
  }
  void* handle = dlopen(path->c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return CannotLoad(*path, LoaderError());
  void* entry = dlsym(handle, cuda::kModuleEntry);
  if (entry == nullptr) return CannotLoad(*path, LoaderError());
  const cuda::Module* module = reinterpret_cast<const cuda::Module* (*)()>(entry)();
  if (std::strcmp(module->interface, PHOTON_INTERFACE) != 0) {
    return absl::UnavailableError(absl::StrCat(path->string(), " is of another build (", module->interface,
                                               ") than the program (" PHOTON_INTERFACE "): build both together"));
  }
  return module;
}

}  // namespace

absl::StatusOr<const cuda::Module*> LoadCudaModule() {
  static const absl::StatusOr<const cuda::Module*>* const kModule = new absl::StatusOr<const cuda::Module*>(Load());
  return *kModule;
}

}  // namespace photon
