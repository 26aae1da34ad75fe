// Rows between a matrix and addresses of their own. A block a row.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "simt.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 128;

template <typename Word>
__device__ __forceinline__ bool CopyAs(char* to, const char* from, int64_t bytes) {
  const auto bits = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) | static_cast<uintptr_t>(bytes);
  if (bits % sizeof(Word) != 0) return false;
  for (int64_t i = threadIdx.x; i < bytes / static_cast<int64_t>(sizeof(Word)); i += kThreads) {
    reinterpret_cast<Word*>(to)[i] = reinterpret_cast<const Word*>(from)[i];
  }
  return true;
}

// Rows of floating elements: of at least two bytes.
__global__ void __launch_bounds__(kThreads)
    CopyRows(char* matrix, const int64_t* addresses, int64_t bytes, bool to_addresses) {
  char* own = matrix + blockIdx.x * bytes;
  char* there = reinterpret_cast<char*>(addresses[blockIdx.x]);
  char* to = to_addresses ? there : own;
  const char* from = to_addresses ? own : there;
  if (CopyAs<uint4>(to, from, bytes) || CopyAs<uint32_t>(to, from, bytes)) return;
  CopyAs<uint16_t>(to, from, bytes);
}

void Copy(const Context& context, const char* operation, const Tensor& matrix, const Tensor& addresses,
          bool to_addresses) {
  Launch(context, operation, CopyRows, static_cast<unsigned>(matrix.dim(0)), kThreads, 0,
         static_cast<char*>(matrix.raw()), addresses.data<int64_t>(),
         matrix.dim(1) * static_cast<int64_t>(ByteSize(matrix.dtype())), to_addresses);
}

}  // namespace

void GatherRows(const Context& context, const Tensor& addresses, const Tensor& out) {
  Copy(context, "gather_rows", out, addresses, /*to_addresses=*/false);
}

void ScatterRows(const Context& context, const Tensor& in, const Tensor& addresses) {
  Copy(context, "scatter_rows", in, addresses, /*to_addresses=*/true);
}

}  // namespace photon::cuda
