// A block's shared memory. Every block finds it full of NaN (0xff bytes): dynamic shared memory, and the static
// __shared__ variables of the kernel's own function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/simt/emulator/block.h"
#include "tests/simt/emulator/symbols.h"

namespace photon::simt {

inline constexpr size_t kSharedPerBlock = 227 << 10;  // at most, on compute capability 9.0
inline constexpr size_t kSharedWithoutAsking = 48 << 10;
inline constexpr size_t kSharedAlignment = 128;

class SharedMemory {
 public:
  // For the blocks of one launch. A page that nobody may touch follows the last byte, rounded up to the alignment.
  explicit SharedMemory(const Grid& grid);
  void BeginBlock();
  void CheckBounds() const;  // fails where bytes just before or after were written

 private:
  std::vector<StaticShared> variables_;
};

// Dynamic shared memory of the block that runs.
void* DynamicSharedMemory();

// Where an address of dynamic shared memory lies among all that a multiprocessor has, in bytes, and back: `bytes` there
// must belong to the block. Multiples of 1024 are multiples of 1024.
inline constexpr size_t kSharedWindow = 256 << 10;
bool IsDynamicShared(const void* address);
uint32_t SharedAddress(const void* shared);
const void* SharedAt(uint32_t address, size_t bytes);
size_t StaticSharedBytes(const void* kernel);

}  // namespace photon::simt
