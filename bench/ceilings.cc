// What a device can do at most, measured: bytes a second that a large copy reads and writes, and FLOP a second of a
// large bf16 product on random values (constant ones spare a GPU's power and would measure a clock that training never
// sees).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/bandwidth.h"
#include "bench/device_option.h"
#include "bench/report.h"
#include "bench/timing.h"
#include "core/backend.h"
#include "core/device.h"
#include "core/random.h"

namespace photon {
namespace {

Tensor Random(const Context& context, int64_t rows, int64_t columns) {
  const Philox philox(1, 0);
  std::vector<float> values(rows * columns);
#pragma omp parallel for
  for (int64_t i = 0; i < rows * columns; ++i) values[i] = static_cast<float>(philox.Normal(i));
  return ops::Converted(context, context.FromHost(values.data(), {rows, columns}, DType::kF32), DType::kBF16);
}

double ProductSpeed(const Context& context, double budget, int64_t width) {
  const Tensor a = Random(context, width, width), b = Random(context, width, width);
  const Tensor c = context.Empty(a.shape(), a.dtype());
  const double seconds =
      QueuedSeconds(context, budget, [&] { ops::MatMul(context, a, false, b, /*tb=*/true, {}, 0, c); });
  return 2.0 * static_cast<double>(width) * static_cast<double>(width) * static_cast<double>(width) / seconds;
}

int Run(const std::string& device_name, double budget, int64_t megabytes, int64_t width, const std::string& json) {
  const auto device = OpenDeviceOrExit(device_name);
  device->TimeProducts(true);
  const Context context = device->MakeContext(nullptr);
  const bool on_cpu = device->device().type == DeviceType::kCpu;
  if (megabytes == 0) megabytes = on_cpu ? 256 : 2048;
  if (width == 0) width = on_cpu ? 2048 : 8192;
  const double copy = CopyBandwidth(context, budget, megabytes << 20), product = ProductSpeed(context, budget, width);
  std::printf("%s\ncopy of %ld MiB: %.1f GB/s\nbf16 product of %ld: %.2f TFLOP/s\n", device->Description().c_str(),
              static_cast<long>(megabytes), copy / 1e9, static_cast<long>(width), product / 1e12);
  return WriteReport({{"bench", "ceilings"},
                      {"device", device->Description()},
                      {"megabytes", megabytes},
                      {"width", width},
                      {"copy_gb_per_s", copy / 1e9},
                      {"product_tflops", product / 1e12}},
                     json)
             ? 0
             : 1;
}

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  CLI::App app("The ceilings of a device: a large copy, a large bf16 product");
  std::string device = "cpu", json;
  double budget = 1;
  int64_t megabytes = 0, width = 0;
  photon::AddDeviceOption(app, &device);
  app.add_option("--seconds", budget, "for each measurement")->capture_default_str();
  app.add_option("--megabytes", megabytes, "that are copied; 0: 256, or 2048 on a GPU");
  app.add_option("--width", width, "of the factors; 0: 2048, or 8192 on a GPU");
  app.add_option("--json", json, "file for the figures");
  CLI11_PARSE(app, argc, argv);
  return photon::Run(device, budget, megabytes, width, json);
}
