// libphoton_cuda.so on machines without a driver: it loads, and the program says what is missing.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "core/cuda/module.h"
#include "core/device.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Every symbol that it wants is there: libraries, and what it carries of core/.
TEST(CudaModule, LoadsWithoutADriver) {
  const std::string path = std::string(PHOTON_BUILD_FOLDER) + "/" + cuda::kModuleFile;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "built without nvcc";
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(handle, nullptr) << dlerror();
  void* entry = dlsym(handle, cuda::kModuleEntry);
  ASSERT_NE(entry, nullptr) << dlerror();
  const cuda::Module* module = reinterpret_cast<const cuda::Module* (*)()>(entry)();
  EXPECT_THAT(module->interface, StartsWith(PHOTON_VERSION "-"));
  // An answer, or a plain refusal: never an end.
  if (const auto count = module->count_devices(); !count.ok()) {
    EXPECT_EQ(count.status().code(), absl::StatusCode::kUnavailable) << count.status();
    EXPECT_THAT(std::string(count.status().message()), HasSubstr("NVIDIA"));
  }
}

TEST(OpenedDevice, AutoIsNeverRefused) {
  std::string why_cpu;
  const auto device = OpenedDevice::Open("auto", 0, &why_cpu);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ((*device)->device().type == DeviceType::kCpu, !why_cpu.empty());
  if (why_cpu.empty()) return;
  for (const char* name : {"cuda", "cuda:0", "cuda:17"}) {
    const auto cuda = OpenedDevice::Open(name);
    EXPECT_EQ(cuda.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(cuda.status().message()), HasSubstr(std::string("--device ") + name + ": "));
  }
}

TEST(OpenedDevice, NamesAreChecked) {
  for (const char* name : {"", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda1", "CPU"}) {
    EXPECT_EQ(OpenedDevice::Open(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

}  // namespace
}  // namespace photon
