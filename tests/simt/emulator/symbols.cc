#include "tests/simt/emulator/symbols.h"

#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace photon::simt {
namespace {

struct Symbols {
  std::string file;  // keeps the names alive
  const Elf64_Sym* begin = nullptr;
  const Elf64_Sym* end = nullptr;
  const char* names = nullptr;
};

Symbols Read() {
  Symbols symbols;
  std::ifstream in("/proc/self/exe", std::ios::binary);
  symbols.file.assign(std::istreambuf_iterator<char>(in), {});
  const char* data = symbols.file.data();
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(data);
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(data + header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    symbols.begin = reinterpret_cast<const Elf64_Sym*>(data + sections[i].sh_offset);
    symbols.end = symbols.begin + sections[i].sh_size / sizeof(Elf64_Sym);
    symbols.names = data + sections[sections[i].sh_link].sh_offset;
  }
  return symbols;
}

const Symbols& Program() {
  static const Symbols* const symbols = new Symbols(Read());
  return *symbols;
}

struct Loaded {
  uintptr_t base = 0;
  char* thread_local_memory = nullptr;
};

Loaded FindLoaded() {
  Loaded loaded;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* found) {  // the program itself comes first
        *static_cast<Loaded*>(found) = {info->dlpi_addr, static_cast<char*>(info->dlpi_tls_data)};
        return 1;
      },
      &loaded);
  return loaded;
}

}  // namespace

std::string MangledName(const void* address) {
  const Symbols& symbols = Program();
  const uintptr_t value = reinterpret_cast<uintptr_t>(address) - FindLoaded().base;
  for (const Elf64_Sym* s = symbols.begin; s != symbols.end; ++s) {
    if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_value == value) return symbols.names + s->st_name;
  }
  return "";
}

std::vector<StaticShared> StaticSharedOf(const void* address) {
  const std::string function = MangledName(address);
  std::vector<StaticShared> variables;
  if (!absl::StartsWith(function, "_Z")) return variables;
  const std::string prefix = absl::StrCat("_ZZ", function.substr(2), "E");
  const Symbols& symbols = Program();
  for (const Elf64_Sym* s = symbols.begin; s != symbols.end; ++s) {
    if (ELF64_ST_TYPE(s->st_info) == STT_TLS && absl::StartsWith(symbols.names + s->st_name, prefix)) {
      variables.push_back({s->st_value, s->st_size});
    }
  }
  return variables;
}

char* ThreadLocalMemory() { return FindLoaded().thread_local_memory; }

}  // namespace photon::simt
