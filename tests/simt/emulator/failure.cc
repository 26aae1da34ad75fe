#include "tests/simt/emulator/failure.h"

#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/simt/emulator/block.h"
#include "tests/simt/emulator/symbols.h"

namespace photon::simt {
namespace {

std::string Text(const uint3& v) { return absl::StrFormat("(%d, %d, %d)", v.x, v.y, v.z); }

}  // namespace

std::string FunctionName(const void* address) {
  const std::string mangled = MangledName(address);
  if (mangled.empty()) return absl::StrFormat("%p", address);
  int status = 0;
  char* name = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  std::string text = status == 0 ? name : mangled;
  std::free(name);
  return text;
}

std::string WhereNow() {
  const Grid* grid = RunningGrid();
  if (grid == nullptr) return "";
  return absl::StrCat("kernel ", FunctionName(grid->kernel), "\n  block ", Text(blockIdx), " of ", Text(gridDim),
                      ", thread ", Text(threadIdx), " of ", Text(blockDim));
}

void Fail(const std::string& message) {
  const std::string where = WhereNow();
  std::fprintf(stderr, "emulated GPU: %s\n%s%s%s", message.c_str(), where.empty() ? "" : "  ", where.c_str(),
               where.empty() ? "" : "\n");
  std::fflush(stderr);
  std::abort();
}

}  // namespace photon::simt
