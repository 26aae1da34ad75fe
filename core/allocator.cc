#include "core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "core/rounding.h"

namespace photon {
namespace {

constexpr size_t kAlignment = 256;            // cache lines on the CPU, coalescing and vector loads on a GPU
constexpr size_t kMinimumSlab = 32ull << 20;  // few large slabs merge better than many small ones

}  // namespace

// Blocks tile each slab. Free neighbours are merged at once, so no two free blocks of a slab touch.
struct Arena::State {
  struct Block {
    size_t bytes;
    bool free;
    bool slab_begin;  // never merged with the block before it, which is another slab's
  };

  explicit State(SlabSource s) : source(std::move(s)) {}
  ~State() {
    for (auto& [data, bytes] : slabs) source.give_back(data, bytes);
  }

  void Release(char* data) {
    absl::MutexLock lock(&mutex);
    auto it = blocks.find(data);
    in_use -= it->second.bytes;
    it->second.free = true;
    auto next = std::next(it);
    if (next != blocks.end() && next->second.free && !next->second.slab_begin) {
      free_blocks.erase({next->second.bytes, next->first});
      it->second.bytes += next->second.bytes;
      blocks.erase(next);
    }
    if (!it->second.slab_begin) {
      auto previous = std::prev(it);
      if (previous->second.free) {
        free_blocks.erase({previous->second.bytes, previous->first});
        previous->second.bytes += it->second.bytes;
        blocks.erase(it);
        it = previous;
      }
    }
    free_blocks.insert({it->second.bytes, it->first});
  }

  // Slabs of which nothing is in use; true where there was one.
  bool GiveBackFreeSlabs() {
    return std::erase_if(slabs, [&](const std::pair<void*, size_t>& slab) {
             const auto block = blocks.find(static_cast<char*>(slab.first));
             if (!block->second.free || block->second.bytes != slab.second) return false;
             free_blocks.erase({slab.second, block->first});
             blocks.erase(block);
             source.give_back(slab.first, slab.second);
             reserved -= slab.second;
             return true;
           }) > 0;
  }

  void Grow(size_t bytes) {
    const size_t slab = RoundUp(std::max(bytes, kMinimumSlab), size_t{2} << 20);
    // Free slabs are too small now. A few are wanted again in the next step; but where a block grows again and again,
    // as caches do, they would add up to many times what is in use.
    const size_t most = std::max(peak_ever, in_use + bytes);
    if (!source.keeps_slabs && reserved + slab > most + most / 2 + kMinimumSlab) GiveBackFreeSlabs();
    void* data = source.take(slab);
    if (data == nullptr && !source.keeps_slabs && GiveBackFreeSlabs()) data = source.take(slab);
    if (data == nullptr) {
      const std::string state = source.state ? absl::StrCat("; ", source.state()) : "";
      throw OutOfMemory(absl::StrCat("out of memory: ", slab, " bytes wanted, ", in_use, " in use, ", reserved,
                                     " reserved", state, "; lower the batch, the sequence length or slice_tokens"));
    }
    slabs.emplace_back(data, slab);
    reserved += slab;
    ++grown;
    blocks[static_cast<char*>(data)] = {slab, true, true};
    free_blocks.insert({slab, static_cast<char*>(data)});
  }

  char* Take(size_t bytes) {
    absl::MutexLock lock(&mutex);
    auto fit = free_blocks.lower_bound({bytes, nullptr});
    if (fit == free_blocks.end()) {
      Grow(bytes);
      fit = free_blocks.lower_bound({bytes, nullptr});
    }
    char* data = fit->second;
    free_blocks.erase(fit);
    Block& block = blocks[data];
    if (block.bytes > bytes) {
      blocks[data + bytes] = {block.bytes - bytes, true, false};
      free_blocks.insert({block.bytes - bytes, data + bytes});
      block.bytes = bytes;
    }
    block.free = false;
    in_use += bytes;
    peak = std::max(peak, in_use);
    peak_ever = std::max(peak_ever, in_use);
    return data;
  }

  SlabSource source;
  mutable absl::Mutex mutex;
  std::map<char*, Block> blocks;
  std::set<std::pair<size_t, char*>> free_blocks;
  std::vector<std::pair<void*, size_t>> slabs;
  size_t in_use = 0;
  size_t peak = 0;  // since ResetPeak
  size_t peak_ever = 0;
  size_t reserved = 0;
  int64_t grown = 0;
};

Arena::Arena(SlabSource source) : state_(std::make_shared<State>(std::move(source))) {}
Arena::~Arena() = default;

std::shared_ptr<Storage> Arena::Allocate(size_t bytes) {
  const size_t rounded = RoundUp(std::max<size_t>(bytes, 1), kAlignment);
  char* data = state_->Take(rounded);
  return std::make_shared<Storage>(data, bytes, [state = state_, data] { state->Release(data); });
}

size_t Arena::in_use() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->in_use;
}
size_t Arena::peak() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->peak;
}
size_t Arena::reserved() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->reserved;
}
int64_t Arena::grown() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->grown;
}
void Arena::ResetPeak() {
  absl::MutexLock lock(&state_->mutex);
  state_->peak = state_->in_use;
}

bool Arena::GiveBackFreeSlabs() {
  absl::MutexLock lock(&state_->mutex);
  return state_->GiveBackFreeSlabs();
}

Arena::SlabSource Arena::HostSlabs() {
  return {.take = [](size_t bytes) -> void* {
            void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (data == MAP_FAILED) return nullptr;
            madvise(data, bytes, MADV_HUGEPAGE);
            return data;
          },
          .give_back = [](void* data, size_t bytes) { munmap(data, bytes); }};
}

}  // namespace photon
