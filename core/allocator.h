// Where tensor memory comes from.
//
// Training shapes are static, so the same sizes are asked for in the same order at every step. The arena keeps what
// is given back, splits and merges it, and after the first step asks the system for nothing: `grown()` stays put.
// Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace photon {

// A block of memory that returns itself to its owner when the last reference goes.
class Storage {
 public:
  Storage(void* data, size_t bytes, std::function<void()> release)
      : data_(data), bytes_(bytes), release_(std::move(release)) {}
  ~Storage() {
    if (release_) release_();
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
  std::function<void()> release_;
};

// Thrown where no memory is left; says how much was wanted and what to do.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  // Uninitialised memory, aligned to 64 bytes at least. Never null; throws OutOfMemory.
  virtual std::shared_ptr<Storage> Allocate(size_t bytes) = 0;
};

// A best-fit arena with splitting and merging over slabs from `SlabSource`. The bookkeeping lives on the host, so that
// the same class serves device memory.
class Arena : public Allocator {
 public:
  struct SlabSource {
    std::function<void*(size_t bytes)> take;  // null: out of memory
    std::function<void(void* data, size_t bytes)> give_back;
    // For the message where memory runs out: "cuda:0 has 1.2 GB of 150.1 GB free". May be empty.
    std::function<std::string()> state = {};
    // Slabs of which nothing is in use stay where others are wanted: recorded operations may still work on them.
    bool keeps_slabs = false;
  };

  explicit Arena(SlabSource source = HostSlabs());
  // Storages may outlive the arena: the slabs live until the last of them goes.
  ~Arena() override;

  std::shared_ptr<Storage> Allocate(size_t bytes) override;

  size_t in_use() const;    // bytes handed out now
  size_t peak() const;      // largest in_use() since ResetPeak()
  size_t reserved() const;  // bytes taken from the source
  int64_t grown() const;    // times the source was asked
  void ResetPeak();
  // Gives slabs back of which nothing is in use; whether there were any.
  bool GiveBackFreeSlabs();

  static SlabSource HostSlabs();  // page-aligned, huge pages advised

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Arenas of one device side by side. Allocations come from the main one; while a Scope lives, from its zone. Memory
// that recorded operations (DeviceGraph) use stands in a zone: nobody else gets it between two launches.
class ZonedAllocator : public Allocator {
 public:
  explicit ZonedAllocator(Arena::SlabSource source) : source_(source), main_(source) {}

  std::shared_ptr<Storage> Allocate(size_t bytes) override { return current_->Allocate(bytes); }
  Arena& main() { return main_; }
  // An empty arena over the same device, which this outlives. It keeps all memory that it ever had, and where there is
  // none left takes what the main one has no use for.
  std::unique_ptr<Arena> NewZone() {
    Arena::SlabSource source = source_;
    source.keeps_slabs = true;
    source.take = [this](size_t bytes) {
      void* const data = source_.take(bytes);
      return data == nullptr && main_.GiveBackFreeSlabs() ? source_.take(bytes) : data;
    };
    return std::make_unique<Arena>(std::move(source));
  }

  class Scope {
   public:
    Scope(ZonedAllocator& allocator, Arena& zone) : allocator_(allocator), before_(allocator.current_) {
      allocator.current_ = &zone;
    }
    ~Scope() { allocator_.current_ = before_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    ZonedAllocator& allocator_;
    Arena* before_;
  };

 private:
  Arena::SlabSource source_;
  Arena main_;
  Arena* current_ = &main_;
};

}  // namespace photon
