// Layouts: PTX ISA, "Asynchronous warpgroup-level matrix instructions: register fragments, shared memory matrix layout,
// matrix descriptor format".
#include "tests/simt/emulator/warpgroup_products.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <vector>

#include "absl/strings/str_format.h"
#include "tests/simt/emulator/block.h"
#include "tests/simt/emulator/failure.h"
#include "tests/simt/emulator/shared_memory.h"

namespace photon::simt {
namespace {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kDepth = 16, kRows = 16;  // of one product; a warp's rows
constexpr int kWarpsTogether = 4;

// Sixteen deep of a factor, a line of `kDepth` for each of its rows (right factors: columns).
using Factor = std::vector<uint16_t>;

// The element whose address is `offset` without the swizzle: bits 4 to 6 are changed by bits 7 to 9.
uint16_t Swizzled(uint32_t offset) {
  uint16_t element;
  std::memcpy(&element, SharedAt(offset ^ (offset >> 3 & 0x70u), sizeof(element)), sizeof(element));
  return element;
}

Factor ReadFactor(uint64_t descriptor, int lines, bool depth_across) {
  if (descriptor >> 62 != 1) Fail("Product: the factor in shared memory is not swizzled by 128 bytes");
  const auto field = [&](int bit) { return static_cast<uint32_t>(descriptor >> bit & 0x3fffu) << 4; };
  const uint32_t start = field(0), leading = field(16), stride = field(32);
  Factor factor(lines * kDepth);
  for (int i = 0; i < lines; ++i) {
    const uint32_t line = i;
    for (uint32_t k = 0; k < kDepth; ++k) {
      const uint32_t offset = depth_across ? line / 64 * leading + line % 64 * 2 + k / 8 * stride + k % 8 * 128
                                           : line / 8 * stride + line % 8 * 128 + k * 2;
      factor[i * kDepth + k] = Swizzled(start + offset);
    }
  }
  return factor;
}

float Value(uint16_t bf16) { return std::bit_cast<float>(static_cast<uint32_t>(bf16) << 16); }

// Sums of one warp that are under way.
struct Sums {
  float* d[kWarpLanes];
  int tiles;
  std::vector<float> values;  // [row][column]
};

// What must not change before the wait.
struct Operand {
  uint64_t descriptor;
  bool depth_across;
  Factor factor;
};
struct Group {
  std::vector<Operand> operands;
  std::vector<size_t> sums;  // indices in Warp::sums
};

struct Warp {
  bool ordered = false;
  int64_t issued = 0;
  uint64_t digest = 0;  // of what was issued, but for registers
  Group open;
  std::vector<Group> groups;  // oldest first
  std::vector<Sums> sums;
};
thread_local std::vector<Warp> warps;
// Of every 16 bytes of shared memory: 1 + the thread whose copy there products can't see yet, or 0.
thread_local std::vector<int> unseen;
thread_local std::vector<std::vector<size_t>> unseen_of;  // by thread

Warp& Mine() { return warps[ThreadInBlock() / kWarpLanes]; }

constexpr uint32_t kUnderWay = 0xffffffffu;  // a NaN
int Column(int lane, int i) { return i / 4 * 8 + lane % 4 * 2 + i % 2; }
int Row(int lane, int i) { return lane / 4 + i / 2 % 2 * 8; }

template <typename F>
void VisitSums(const Sums& sums, F&& f) {
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    for (int i = 0; i < 4 * sums.tiles; ++i) f(sums.d[lane][i], Row(lane, i) * 8 * sums.tiles + Column(lane, i));
  }
}

void CheckSeen(uint64_t descriptor, int lines, bool depth_across) {
  const auto field = [&](int bit) { return static_cast<uint32_t>(descriptor >> bit & 0x3fffu) << 4; };
  for (int line = 0; line < lines; line += depth_across ? 64 : 1) {
    for (uint32_t k = 0; k < (depth_across ? kDepth : 1); ++k) {
      const uint32_t at = field(0) + (depth_across ? line / 64 * field(16) + k / 8 * field(32) + k % 8 * 128
                                                   : line / 8 * field(32) + line % 8 * 128);
      for (uint32_t byte = at / 128 * 128; byte < at / 128 * 128 + 128; byte += 16) {
        if (unseen[byte / 16] == 0) continue;
        Fail(absl::StrFormat("Product: thread %d copied to a factor and has not shown it to the tensor cores",
                             unseen[byte / 16] - 1));
      }
    }
  }
}

size_t Begin(Warp& warp, const IssuedProduct* const (&lanes)[kWarpLanes]) {
  size_t free = warp.sums.size();
  for (size_t i = 0; i < warp.sums.size(); ++i) {
    if (warp.sums[i].d[0] == lanes[0]->d) return i;
    if (warp.sums[i].d[0] == nullptr) free = i;
  }
  Sums sums = {{}, lanes[0]->tiles, std::vector<float>(kRows * 8 * lanes[0]->tiles)};
  for (int lane = 0; lane < kWarpLanes; ++lane) sums.d[lane] = lanes[lane]->d;
  VisitSums(sums, [&](float& sum, int place) {
    sums.values[place] = sum;
    sum = std::bit_cast<float>(kUnderWay);
  });
  if (free == warp.sums.size()) warp.sums.emplace_back();
  warp.sums[free] = std::move(sums);
  return free;
}

void Issue(void* const (&operands)[kWarpLanes]) {
  const IssuedProduct* lanes[kWarpLanes];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    lanes[lane] = static_cast<const IssuedProduct*>(operands[lane]);
    if (lanes[lane] == nullptr) Fail("Product: all 32 lanes of the warp must take part");
    if (lanes[lane]->b != lanes[0]->b || lanes[lane]->a_shared != lanes[0]->a_shared ||
        lanes[lane]->add != lanes[0]->add) {
      Fail("Product: lanes of a warp issue different ones");
    }
  }
  const IssuedProduct& product = *lanes[0];
  const int number = ThreadInBlock() / kWarpLanes, columns = 8 * product.tiles;
  Warp& warp = warps[number];
  if (!warp.ordered) Fail("Product: OrderRegisters() must stand between it and the last wait");
  ++warp.issued;
  for (const uint64_t word : {product.a_shared, product.b, static_cast<uint64_t>(product.tiles),
                              static_cast<uint64_t>(2 * product.depth_across + product.add)}) {
    warp.digest = (warp.digest ^ word) * 0x9e3779b97f4a7c15ull;
    warp.digest ^= warp.digest >> 29;
  }

  Factor a(kRows * kDepth);
  if (product.a == nullptr) {
    constexpr int kAllRows = kWarpsTogether * kRows;  // nobody says that a warp reads its own alone
    CheckSeen(product.a_shared, kAllRows, false);
    const Factor all = ReadFactor(product.a_shared, kAllRows, false);
    std::copy_n(all.begin() + number % kWarpsTogether * kRows * kDepth, kRows * kDepth, a.begin());
    warp.open.operands.push_back({product.a_shared, false, all});
  } else {
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      for (int r = 0; r < 4; ++r) {
        uint16_t* const two = &a[(lane / 4 + r % 2 * 8) * kDepth + lane % 4 * 2 + r / 2 * 8];
        two[0] = static_cast<uint16_t>(lanes[lane]->a[r]);
        two[1] = static_cast<uint16_t>(lanes[lane]->a[r] >> 16);
      }
    }
  }
  CheckSeen(product.b, columns, product.depth_across);
  Factor b = ReadFactor(product.b, columns, product.depth_across);

  const size_t index = Begin(warp, lanes);
  Sums& sums = warp.sums[index];
  std::vector<float> right(b.size());
  std::transform(b.begin(), b.end(), right.begin(), Value);
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < columns; ++j) {
      float sum = product.add ? sums.values[i * columns + j] : 0;
      for (int k = 0; k < kDepth; ++k) sum += Value(a[i * kDepth + k]) * right[j * kDepth + k];
      sums.values[i * columns + j] = sum;
    }
  }
  warp.open.operands.push_back({product.b, product.depth_across, std::move(b)});
  warp.open.sums.push_back(index);
}

void CheckUnchanged(const Group& group) {
  for (const Operand& operand : group.operands) {
    const int lines = static_cast<int>(operand.factor.size()) / kDepth;
    if (ReadFactor(operand.descriptor, lines, operand.depth_across) != operand.factor) {
      Fail("a factor in shared memory was written before the product that reads it was waited for");
    }
  }
}

// The oldest groups are done: sums that no later one adds to are the kernel's again.
void HandOver(Warp& warp, int groups) {
  for (; groups > 0; --groups) {
    CheckUnchanged(warp.groups.front());
    warp.groups.erase(warp.groups.begin());
  }
  const auto under_way = [&](size_t index) {
    const auto names = [&](const Group& g) { return std::find(g.sums.begin(), g.sums.end(), index) != g.sums.end(); };
    return names(warp.open) || std::any_of(warp.groups.begin(), warp.groups.end(), names);
  };
  for (size_t i = 0; i < warp.sums.size(); ++i) {
    if (warp.sums[i].d[0] == nullptr || under_way(i)) continue;
    VisitSums(warp.sums[i], [&](float& sum, int place) {
      if (std::bit_cast<uint32_t>(sum) != kUnderWay) Fail("sums were written while a product added to them");
      sum = warp.sums[i].values[place];
    });
    warp.sums[i].d[0] = nullptr;  // free
  }
}

void Order(Warp& warp, int) { warp.ordered = true; }
void Commit(Warp& warp, int) {
  warp.groups.push_back(std::move(warp.open));
  warp.open = {};
}
void Wait(Warp& warp, int pending) {
  HandOver(warp, std::max(0, static_cast<int>(warp.groups.size()) - pending));
  warp.ordered = false;
}

// Runs f(.., value) once, when all lanes have come.
template <void (*f)(Warp&, int)>
void Together(const char* operation, int value, const std::source_location& where) {
  WarpRendezvous(
      kAllLanes, operation, &value,
      [](void* const(&lanes)[kWarpLanes]) {
        if (std::find(std::begin(lanes), std::end(lanes), nullptr) != std::end(lanes)) {
          Fail("all 32 lanes of the warp must take part");
        }
        f(Mine(), *static_cast<const int*>(lanes[0]));
      },
      where);
}

}  // namespace

uint64_t SwizzledFactor(const void* first, int leading, int stride) {
  return uint64_t{1} << 62 | static_cast<uint64_t>(stride >> 4) << 32 | static_cast<uint64_t>(leading >> 4) << 16 |
         SharedAddress(first) >> 4;
}

void IssueProduct(const IssuedProduct& product, const std::source_location& where) {
  IssuedProduct mine = product;
  WarpRendezvous(kAllLanes, "Product", &mine, Issue, where);
}

void OrderRegisters(const std::source_location& where) { Together<Order>("OrderRegisters", 0, where); }
void CommitProducts(const std::source_location& where) { Together<Commit>("CommitProducts", 0, where); }
void WaitForProducts(int pending, const std::source_location& where) {
  Together<Wait>("WaitForProducts", pending, where);
}

void CopyArrived(const void* shared, size_t bytes) {
  if (!IsDynamicShared(shared)) return;  // factors lie there alone
  const size_t begin = SharedAddress(shared) / 16, end = (SharedAddress(shared) + bytes + 15) / 16;
  for (size_t unit = begin; unit < end; ++unit) {
    unseen[unit] = ThreadInBlock() + 1;
    unseen_of[ThreadInBlock()].push_back(unit);
  }
}

void ShowCopies() {
  for (const size_t unit : unseen_of[ThreadInBlock()]) {
    if (unseen[unit] == ThreadInBlock() + 1) unseen[unit] = 0;
  }
  unseen_of[ThreadInBlock()].clear();
}

void BeginProducts(int threads) {
  warps.resize((threads + kWarpLanes - 1) / kWarpLanes);
  for (Warp& warp : warps) {
    if (warp.issued != 0 || warp.ordered) warp = {};
  }
  unseen.resize(kSharedWindow / 16);
  for (std::vector<size_t>& units : unseen_of) {
    for (const size_t unit : units) unseen[unit] = 0;
    units.clear();
  }
  unseen_of.resize(threads);
}

void CheckProducts() {
  for (size_t i = 0; i < warps.size(); ++i) {
    if (!warps[i].groups.empty() || !warps[i].open.sums.empty()) {
      Fail(absl::StrFormat("warp %d ended before its products were waited for", i));
    }
    const Warp& first = warps[i / kWarpsTogether * kWarpsTogether];
    if (warps[i].issued != first.issued) {
      Fail(absl::StrFormat("warp %d issued %d products, the first of its warpgroup %d", i, warps[i].issued,
                           first.issued));
    }
    if (warps[i].digest != first.digest) Fail(absl::StrFormat("warp %d issued other products than its warpgroup", i));
  }
}

}  // namespace photon::simt
