// Fragment layouts: PTX ISA, "Warp-level matrix instructions: ldmatrix" and "Matrix fragments for mma.m16n8k16 with
// floating point type".
#include "tests/simt/emulator/instructions.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "absl/strings/str_format.h"
#include "tests/simt/emulator/block.h"
#include "tests/simt/emulator/device_memory.h"
#include "tests/simt/emulator/failure.h"

namespace photon::simt {
namespace {

constexpr unsigned kAllLanes = 0xffffffffu;

void RequireAll(void* const (&lanes)[kWarpLanes], const char* operation) {
  if (std::find(std::begin(lanes), std::end(lanes), nullptr) != std::end(lanes)) {
    Fail(std::string(operation) + ": all 32 lanes of the warp must take part, and some have ended or don't exist");
  }
}

// What lane `lane` holds of a tile, in one register.
uint32_t Part(const uint16_t (&tile)[8][8], int lane, bool transposed) {
  const int i = lane / 4, j = lane % 4 * 2;
  const uint32_t low = transposed ? tile[j][i] : tile[i][j];
  const uint32_t high = transposed ? tile[j + 1][i] : tile[i][j + 1];
  return low | high << 16;
}

struct MatrixLoad {
  uint32_t* registers;
  int tiles;
  const void* row;
  bool transposed;
};

void LoadTiles(void* const (&lanes)[kWarpLanes]) {
  RequireAll(lanes, "LoadMatrix");
  const auto load = [&](int lane) -> const MatrixLoad& { return *static_cast<const MatrixLoad*>(lanes[lane]); };
  for (int t = 0; t < load(0).tiles; ++t) {
    uint16_t tile[8][8];
    for (int i = 0; i < 8; ++i) {
      const void* row = load(8 * t + i).row;
      if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
        Fail(absl::StrFormat("LoadMatrix: lane %d's row at %p is no multiple of 16", 8 * t + i, row));
      }
      if (IsDeviceAddress(row)) Fail("LoadMatrix: a row is not in shared memory");
      std::memcpy(tile[i], row, sizeof(tile[i]));
    }
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      load(lane).registers[t] = Part(tile, lane, load(lane).transposed);
    }
  }
}

void Transpose(void* const (&lanes)[kWarpLanes]) {
  RequireAll(lanes, "TransposeMatrix");
  uint16_t tile[8][8];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const uint32_t part = *static_cast<const uint32_t*>(lanes[lane]);
    tile[lane / 4][lane % 4 * 2] = static_cast<uint16_t>(part);
    tile[lane / 4][lane % 4 * 2 + 1] = static_cast<uint16_t>(part >> 16);
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) *static_cast<uint32_t*>(lanes[lane]) = Part(tile, lane, true);
}

float Low(uint32_t packed) { return std::bit_cast<float>(packed << 16); }
float High(uint32_t packed) { return std::bit_cast<float>(packed & 0xffff0000u); }

struct Product {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

void Multiply(void* const (&lanes)[kWarpLanes]) {
  RequireAll(lanes, "MmaBf16");
  float a[16][16], b[16][8], d[16][8];
  const auto product = [&](int lane) -> const Product& { return *static_cast<const Product*>(lanes[lane]); };
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int group = lane / 4, t = lane % 4;
    const Product& mine = product(lane);
    for (int r = 0; r < 4; ++r) {
      const int row = group + r % 2 * 8, column = t * 2 + r / 2 * 8;
      a[row][column] = Low(mine.a[r]);
      a[row][column + 1] = High(mine.a[r]);
    }
    for (int r = 0; r < 2; ++r) {
      b[t * 2 + r * 8][group] = Low(mine.b[r]);
      b[t * 2 + r * 8 + 1][group] = High(mine.b[r]);
    }
    for (int i = 0; i < 4; ++i) d[group + i / 2 * 8][t * 2 + i % 2] = mine.d[i];
  }
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 16; ++k) {
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
    }
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int group = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) product(lane).d[i] = d[group + i / 2 * 8][t * 2 + i % 2];
  }
}

}  // namespace

uint32_t RoundToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

void CheckGlobal(const void* address, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
    Fail(absl::StrFormat("access of %d bytes at %p, which is no multiple of them", bytes, address));
  }
  if (!IsDeviceAddress(address)) Fail(absl::StrFormat("%p is not global memory", address));
}

void LoadMatrices(uint32_t* registers, int tiles, const void* row, bool transposed, const std::source_location& where) {
  MatrixLoad load = {registers, tiles, row, transposed};
  WarpRendezvous(kAllLanes, "LoadMatrix", &load, LoadTiles, where);
}

uint32_t TransposeTile(uint32_t tile, const std::source_location& where) {
  WarpRendezvous(kAllLanes, "TransposeMatrix", &tile, Transpose, where);
  return tile;
}

void MultiplyMatrices(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                      const std::source_location& where) {
  Product product = {d, a, b};
  WarpRendezvous(kAllLanes, "MmaBf16", &product, Multiply, where);
}

}  // namespace photon::simt
