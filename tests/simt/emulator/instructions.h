// What simt.h needs behind its functions: warp-wide loads and products of matrices, rounding, checks of addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace photon::simt {

// The bits of `value` as bf16, rounded to nearest, ties to even; NaN gives 0x7fff.
uint32_t RoundToBf16(float value);

// Fails where `address` is no multiple of `bytes` in global memory.
void CheckGlobal(const void* address, size_t bytes);

// ldmatrix .m8n8 .b16: `tiles` 8 x 8 tiles of 16-bit elements. All 32 lanes.
void LoadMatrices(uint32_t* registers, int tiles, const void* row, bool transposed, const std::source_location& where);

// movmatrix .m8n8 .trans .b16. All 32 lanes.
uint32_t TransposeTile(uint32_t tile, const std::source_location& where);

// mma .m16n8k16 .row .col, bf16 with f32 sums. All 32 lanes.
void MultiplyMatrices(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const std::source_location& where);

}  // namespace photon::simt
