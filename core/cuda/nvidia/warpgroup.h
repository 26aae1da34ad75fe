// Hopper's instructions beyond simt.h: matrix products by warpgroups, barriers in shared memory, registers moved from
// warps that copy to warps that compute. Compute capability 9.0 alone has them: kHasWarpgroups says whether the code
// is compiled for it, and the host launches what needs them only where QueueOf(context).warpgroups_from lets it.
//
// As simt.h, this header has a twin on emulated threads, tests/simt/warpgroup.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "simt.h"

namespace photon::cuda {

inline constexpr int kWarpgroup = 4 * kWarp;  // threads; the first of a warpgroup is a multiple of it

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool kHasWarpgroups = true;
#define PHOTON_WARPGROUP_ASM asm volatile
#else
inline constexpr bool kHasWarpgroups = false;
#define PHOTON_WARPGROUP_ASM(...) __trap()
#endif

// Dynamic shared memory from the first multiple of 1024 on, which swizzled factors want; ask for kSwizzleSlack more.
inline constexpr int kSwizzleSlack = 1024 - 128;
template <typename T>
__device__ __forceinline__ T* SwizzledShared() {
  unsigned char* const shared = DynamicShared<unsigned char>();
  return reinterpret_cast<T*>(shared + (-SharedAddress(shared) & 1023u));
}

// A factor of a product in shared memory, bf16, its lines swizzled: lines of 128 bytes in groups of eight, which begin
// at multiples of 1024 bytes; the 16 bytes number i of line number j are in place i ^ j % 8. `first`: its first
// element, the swizzle left aside.
// - depth along lines: line i is row (of a right factor: column) i, 16 deep from `first` on, within one line. `groups`
//   lie `stride` bytes apart; `leading` is of no concern.
// - depth across lines: line i is depth i, of 64 columns; groups of eight deep lie `stride` bytes apart, and the next
//   64 columns `leading` bytes further.
// PTX ISA, "Asynchronous warpgroup-level matrix: shared memory matrix layout, matrix descriptor".
__device__ __forceinline__ uint64_t SwizzledFactor(const void* first, int leading, int stride) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return kSwizzle128 | uint64_t(stride >> 4) << 32 | uint64_t(leading >> 4) << 16 |
         ((SharedAddress(first) & 0x3ffffu) >> 4);
}

// Products of a warpgroup run behind the program's back, in the order of their issue. All warps of the warpgroup issue
// the same. From a product's issue until a WaitForProducts() that covers it, its sums and its left factor in registers
// may not be touched, nor its factors in shared memory be written. Before the first product, and before one whose
// registers were written since the last one: OrderRegisters(). Factors that ordinary instructions or CopyAsync wrote to
// shared memory: ShowToProducts() in the writing thread (of copies: after their wait), then a barrier.
__device__ __forceinline__ void OrderRegisters() { PHOTON_WARPGROUP_ASM("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void ShowToProducts() {
  PHOTON_WARPGROUP_ASM("fence.proxy.async.shared::cta;" ::: "memory");
}
// Computes `value`, which is never negative, before what follows. Left to itself, the compiler computes behind a wait
// what could be computed during it.
__device__ __forceinline__ void ComputeFirst(float value) {
  asm volatile("{\n.reg .pred negative;\nsetp.lt.f32 negative, %0, 0f00000000;\n@negative trap;\n}\n" ::"f"(value)
               : "memory");
}
// Products since the last commit form a group; WaitForProducts<n> returns when all but the newest n groups are done.
// `sums` are those of products that are done then.
__device__ __forceinline__ void CommitProducts() {
  PHOTON_WARPGROUP_ASM("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int Pending, int... Tiles>
__device__ __forceinline__ void WaitForProducts(float (&... sums)[Tiles][4]) {
  PHOTON_WARPGROUP_ASM("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
  // The compiler may not read them sooner.
  const auto pin = [](auto& d) {
#pragma unroll
    for (auto& tile : d) {
#pragma unroll
      for (float& sum : tile) asm volatile("" : "+f"(sum)::"memory");
    }
  };
  (pin(sums), ...);
}

#define PHOTON_TILE(d, i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define PHOTON_TILES4(d, i) PHOTON_TILE(d, i), PHOTON_TILE(d, i + 1), PHOTON_TILE(d, i + 2), PHOTON_TILE(d, i + 3)
#define PHOTON_TILES8(d) PHOTON_TILES4(d, 0), PHOTON_TILES4(d, 4)
#define PHOTON_TILES16(d) PHOTON_TILES8(d), PHOTON_TILES4(d, 8), PHOTON_TILES4(d, 12)
#define PHOTON_SUMS32                                                                                          \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
  "%23, %24, %25, %26, %27, %28, %29, %30, %31}"
#define PHOTON_SUMS64                                                                                              \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "     \
  "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, " \
  "%45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define PHOTON_PRODUCT(flag, instruction) \
  "{\n.reg .pred add;\nsetp.ne.b32 add, " flag ", 0;\nwgmma.mma_async.sync.aligned." instruction ";\n}\n"

// d [64, 8 Tiles] (+)= a [64, 16] b [16, 8 Tiles], bf16 with f32 sums; `add`: to what d holds. Warp w of the warpgroup
// has rows 16 w on, and of each tile of eight columns what MmaBf16 has of d (simt.h); a in registers likewise. In
// shared memory (SwizzledFactor) both factors have their depth along lines.
template <int Tiles>
__device__ __forceinline__ void Product(float (&d)[Tiles][4], uint64_t a, uint64_t b, bool add) {
  static_assert(Tiles == 8 || Tiles == 16);
  if constexpr (Tiles == 8) {
    PHOTON_WARPGROUP_ASM(PHOTON_PRODUCT("%34", "m64n64k16.f32.bf16.bf16 " PHOTON_SUMS32 ", %32, %33, add, 1, 1, 0, 0")
                         : PHOTON_TILES8(d)
                         : "l"(a), "l"(b), "r"(int{add}));
  } else {
    PHOTON_WARPGROUP_ASM(PHOTON_PRODUCT("%66", "m64n128k16.f32.bf16.bf16 " PHOTON_SUMS64 ", %64, %65, add, 1, 1, 0, 0")
                         : PHOTON_TILES16(d)
                         : "l"(a), "l"(b), "r"(int{add}));
  }
}
// The same with a in registers. DepthAcross: b's depth lies across lines.
template <bool DepthAcross, int Tiles>
__device__ __forceinline__ void Product(float (&d)[Tiles][4], const uint32_t (&a)[4], uint64_t b, bool add) {
  static_assert(Tiles == 8 || Tiles == 16);
  if constexpr (Tiles == 8) {
    PHOTON_WARPGROUP_ASM(
        PHOTON_PRODUCT("%37", "m64n64k16.f32.bf16.bf16 " PHOTON_SUMS32 ", {%32, %33, %34, %35}, %36, add, 1, 1, %38")
        : PHOTON_TILES8(d)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int{add}), "n"(int{DepthAcross}));
  } else {
    PHOTON_WARPGROUP_ASM(
        PHOTON_PRODUCT("%69", "m64n128k16.f32.bf16.bf16 " PHOTON_SUMS64 ", {%64, %65, %66, %67}, %68, add, 1, 1, %70")
        : PHOTON_TILES16(d)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int{add}), "n"(int{DepthAcross}));
  }
}

#undef PHOTON_PRODUCT
#undef PHOTON_SUMS64
#undef PHOTON_SUMS32
#undef PHOTON_TILES16
#undef PHOTON_TILES8
#undef PHOTON_TILES4
#undef PHOTON_TILE

// A barrier in shared memory: its phases 0, 1, 0, .. end when `count` threads have arrived. Init by one thread, then
// __syncthreads(). Ended(b, p): the last phase that ended is a p; of a new barrier, phase 1 counts as ended.
using SharedBarrier = uint64_t;
__device__ __forceinline__ void Init(SharedBarrier* barrier, int count) {
  PHOTON_WARPGROUP_ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)), "r"(count) : "memory");
}
__device__ __forceinline__ void Arrive(SharedBarrier* barrier) {
  PHOTON_WARPGROUP_ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier)) : "memory");
}
#define PHOTON_PHASE(instruction)               \
  "{\n.reg .pred ended;\nmbarrier." instruction \
  ".parity.shared::cta.b64 ended, [%1], %2;\nselp.u32 %0, 1, 0, ended;\n}\n"
__device__ __forceinline__ bool Ended(SharedBarrier* barrier, int phase) {
  uint32_t ended = 0;
  PHOTON_WARPGROUP_ASM(PHOTON_PHASE("test_wait") : "=r"(ended) : "r"(SharedAddress(barrier)), "r"(phase) : "memory");
  return ended != 0;
}
__device__ __forceinline__ void Wait(SharedBarrier* barrier, int phase) {
  uint32_t ended = 0;
  while (ended == 0) {  // each asks for some time
    PHOTON_WARPGROUP_ASM(PHOTON_PHASE("try_wait") : "=r"(ended) : "r"(SharedAddress(barrier)), "r"(phase) : "memory");
  }
}
#undef PHOTON_PHASE

// The block's barrier `id` (1 to 15; __syncthreads() is 0): whole warps meet, `threads` of them in all; those that
// Announce() do not wait.
__device__ __forceinline__ void Meet(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void Announce(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// The warpgroup's threads have so many registers from here on (a multiple of 8, 24 to 240), given to the block's pool
// or taken from it. All warps call it; what a block's threads had at launch must be enough for all.
template <int Registers>
__device__ __forceinline__ void GiveRegisters() {
  PHOTON_WARPGROUP_ASM("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}
template <int Registers>
__device__ __forceinline__ void TakeRegisters() {
  PHOTON_WARPGROUP_ASM("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}

#undef PHOTON_WARPGROUP_ASM

}  // namespace photon::cuda
