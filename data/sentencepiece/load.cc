#include <dlfcn.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "data/sentencepiece/api.h"

namespace photon {
namespace {

struct Module {
  const SentencePieceApi* api = nullptr;
  std::string error;
};

Module Load() {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path built = PHOTON_SENTENCEPIECE_MODULE;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  fs::path path = built;
  for (const fs::path& folder : {program.parent_path() / "lib", program}) {
    if (fs::exists(folder / built.filename(), ignored)) path = folder / built.filename();
  }
  Module module;
  void* handle = dlmopen(LM_ID_NEWLM, path.c_str(), RTLD_NOW);
  void* entry = handle == nullptr ? nullptr : dlsym(handle, "PhotonSentencePiece");
  if (entry == nullptr) {
    module.error = dlerror();
    return module;
  }
  module.api = reinterpret_cast<const SentencePieceApi* (*)()>(entry)();
  return module;
}

}  // namespace

const SentencePieceApi* LoadSentencePiece(const char** error) {
  static const Module module = Load();
  *error = module.error.c_str();
  return module.api;
}

}  // namespace photon
