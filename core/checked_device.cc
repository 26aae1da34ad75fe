#include "core/checked_device.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/checked_backend.h"

namespace photon {
namespace {

class Checked : public OpenedDevice {
 public:
  explicit Checked(std::unique_ptr<OpenedDevice> device)
      : device_(std::move(device)), backend_(device_->MakeContext(nullptr).backend()) {}

  Device device() const override { return device_->device(); }
  std::string Description() const override { return absl::StrCat(device_->Description(), ", each operation checked"); }
  std::string Identity() const override { return device_->Identity(); }
  DeviceMemory memory() const override { return device_->memory(); }
  ZonedAllocator& allocator() override { return device_->allocator(); }
  Context MakeContext(Profiler* profiler) override {
    const Context context = device_->MakeContext(profiler);
    return Context(context.device(), backend_, context.allocator(), context.stream(), profiler);
  }
  RangeMarker* marker() override { return device_->marker(); }
  void TimeProducts(bool on) override { device_->TimeProducts(on); }
  std::unique_ptr<DeviceGraph> Record(const Context&, const std::function<void()>&) override {
    PHOTON_CHECK(false) << "[record] operations that are checked can't be recorded";
    return nullptr;
  }

 private:
  std::unique_ptr<OpenedDevice> device_;
  CheckedBackend backend_;
};

}  // namespace

std::unique_ptr<OpenedDevice> CheckedDevice(std::unique_ptr<OpenedDevice> device) {
  return std::make_unique<Checked>(std::move(device));
}

}  // namespace photon
