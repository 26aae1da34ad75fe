#include "tests/simt/emulator/red_zones.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/cuda/queue.h"
#include "tests/simt/emulator/failure.h"
#include "tests/simt/emulator/stream.h"

namespace photon::simt {
namespace {

constexpr size_t kZone = 256;  // keeps the alignment
constexpr unsigned char kPoison = 0xff;

void CheckZone(const unsigned char* zone, const char* where, size_t bytes) {
  if (std::all_of(zone, zone + kZone, [](unsigned char c) { return c == kPoison; })) return;
  Fail(absl::StrCat("somebody wrote ", where, " a block of ", bytes, " bytes while it lived"));
}

class RedZones : public Allocator {
 public:
  RedZones(Allocator& memory, cudaStream_t stream) : memory_(memory), stream_(stream) {}

  std::shared_ptr<Storage> Allocate(size_t bytes) override {
    std::shared_ptr<Storage> whole = memory_.Allocate(bytes + 2 * kZone);
    auto* begin = static_cast<unsigned char*>(whole->data()) + kZone;
    Queue(stream_, [begin, bytes] {
      std::memset(begin - kZone, kPoison, kZone);
      std::memset(begin + bytes, kPoison, kZone);
    });
    const std::shared_ptr<Capture> capture = stream_->capture;
    return std::make_shared<Storage>(begin, bytes, [whole = std::move(whole), stream = stream_, begin, bytes, capture] {
      // What outlives its recording, or was there before it, shares its memory with the temporaries of other
      // recordings in the same zone: each replay may write there.
      if (stream->capture != capture) return;
      Queue(stream, [begin, bytes] {
        CheckZone(begin - kZone, "before", bytes);
        CheckZone(begin + bytes, "after", bytes);
      });
    });
  }

 private:
  Allocator& memory_;
  const cudaStream_t stream_;
};

class Guarded : public OpenedDevice {
 public:
  explicit Guarded(std::unique_ptr<OpenedDevice> device)
      : device_(std::move(device)),
        memory_(device_->allocator(), cuda::QueueOf(device_->MakeContext(nullptr)).stream) {}

  Device device() const override { return device_->device(); }
  std::string Description() const override { return device_->Description(); }
  std::string Identity() const override { return device_->Identity(); }
  DeviceMemory memory() const override { return device_->memory(); }
  ZonedAllocator& allocator() override { return device_->allocator(); }
  Context MakeContext(Profiler* profiler) override {
    const Context context = device_->MakeContext(profiler);
    return Context(context.device(), context.backend(), memory_, context.stream(), profiler);
  }
  void TimeProducts(bool on) override { device_->TimeProducts(on); }
  bool records() const override { return device_->records(); }
  std::unique_ptr<DeviceGraph> Record(const Context& context, const std::function<void()>& body) override {
    return device_->Record(context, body);
  }

 private:
  const std::unique_ptr<OpenedDevice> device_;
  RedZones memory_;
};

}  // namespace

std::unique_ptr<OpenedDevice> WithRedZones(std::unique_ptr<OpenedDevice> device) {
  return std::make_unique<Guarded>(std::move(device));
}

}  // namespace photon::simt
