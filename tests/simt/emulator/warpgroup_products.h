// wgmma: products of a warpgroup that run behind the program's back, with factors in shared memory.
//
// Each warp's 16 rows are computed when it issues the product, and handed over by the wait that covers it; until then
// the sums read as NaN. What a GPU does not forgive ends the program: sums that were touched and factors in shared
// memory that were written before the wait, copies that were not shown to the tensor cores, registers that were not
// ordered, warps of a warpgroup that issued different products. Not seen: a left factor in registers that changes too
// early, ordinary stores that were not shown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace photon::simt {

// The descriptor of a factor with 128-byte swizzle, as core/cuda/nvidia/warpgroup.h makes it.
uint64_t SwizzledFactor(const void* first, int leading, int stride);

struct IssuedProduct {
  float* d;           // this lane's [tiles][4]
  int tiles;          // of eight columns
  const uint32_t* a;  // this lane's registers of the left factor, or null: a_shared
  uint64_t a_shared, b;
  bool depth_across;  // of b: its depth lies across lines
  bool add;
};
// Each called by all lanes of a warp.
void IssueProduct(const IssuedProduct& product, const std::source_location& where);
void OrderRegisters(const std::source_location& where);
void CommitProducts(const std::source_location& where);
void WaitForProducts(int pending, const std::source_location& where);

// fence.proxy.async: what this thread has copied can be read by products.
void ShowCopies();
// An asynchronous copy of this thread has arrived there.
void CopyArrived(const void* shared, size_t bytes);

// Of one block; the second fails where its warps left products behind, or warps of a warpgroup issued different ones.
void BeginProducts(int threads);
void CheckProducts();

}  // namespace photon::simt
