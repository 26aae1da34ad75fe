// What a checkpoint costs over the disk itself: WriteCheckpoint and Verify against plain write + fsync of as many bytes
// in files of the same sizes, alternating in one run. Usage: checkpoint [FOLDER [MEGABYTES [RANKS]]].
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "bench/timing.h"
#include "checkpoint/store.h"
#include "core/check.h"

namespace photon {
namespace {

constexpr int kTensors = 24;  // a rank's, like the matrices of a layer or two

void OnThreads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int r = 0; r < count; ++r) threads.emplace_back(body, r);
  for (std::thread& thread : threads) thread.join();
}

void WritePlainly(const std::string& path, const std::vector<float>& values) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  PHOTON_CHECK(fd >= 0) << path;
  const char* at = reinterpret_cast<const char*>(values.data());
  for (size_t left = values.size() * sizeof(float); left > 0;) {
    const ssize_t n = write(fd, at, std::min<size_t>(left, 1 << 30));
    PHOTON_CHECK(n > 0) << path;
    at += n, left -= n;
  }
  PHOTON_CHECK(fsync(fd) == 0) << path;
  close(fd);
}

CheckpointContents Contents(int rank, int ranks, std::vector<float>& values) {
  CheckpointContents contents;
  const int64_t rows = values.size() / kTensors;
  for (int t = 0; t < kTensors; ++t) {
    contents.parts.push_back({"model", "tensor." + std::to_string(t), Shape{ranks * rows},
                              Region{{rank * rows}, Shape{rows}},
                              Tensor::Wrap(values.data() + t * rows, Shape{rows}, DType::kF32)});
  }
  return contents;
}

void Run(const std::string& folder, int64_t megabytes, int ranks) {
  const int64_t elements = megabytes * 1000000 / 4 / ranks / kTensors * kTensors;
  std::vector<std::vector<float>> values(ranks, std::vector<float>(elements, 1.25f));
  const double bytes = static_cast<double>(elements) * 4 * ranks;
  std::printf("%d ranks, %.0f MB in %s; GB/s\n%12s %12s %12s %8s\n", ranks, bytes / 1e6, folder.c_str(), "plain",
              "checkpoint", "verify", "ratio");
  for (int round = 0; round < 5; ++round) {
    const double plain = Seconds(
        [&] { OnThreads(ranks, [&](int r) { WritePlainly(folder + "/plain" + std::to_string(r), values[r]); }); });
    for (int r = 0; r < ranks; ++r) std::filesystem::remove(folder + "/plain" + std::to_string(r));
    auto comms = ThreadCommunicators(ranks);
    const std::string dir = folder + "/checkpoint";
    const double saved = Seconds([&] {
      OnThreads(ranks, [&](int r) {
        const absl::Status status = WriteCheckpoint(*comms[r], dir, Contents(r, ranks, values[r]));
        PHOTON_CHECK(status.ok()) << status.ToString();
      });
    });
    const double verified = Seconds([&] {
      OnThreads(ranks, [&](int r) {
        const auto reader = CheckpointReader::Open(dir);
        PHOTON_CHECK(reader.ok() && reader->Verify(*comms[r], "").ok());
      });
    });
    std::filesystem::remove_all(dir);
    std::printf("%12.2f %12.2f %12.2f %8.2f\n", bytes / plain / 1e9, bytes / saved / 1e9, bytes / verified / 1e9,
                plain / saved);
  }
}

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  const std::string folder = (argc > 1 ? std::string(argv[1]) : std::string(".")) + "/checkpoint-bench";
  std::filesystem::create_directories(folder);
  photon::Run(folder, argc > 2 ? std::atoll(argv[2]) : 400, argc > 3 ? std::atoi(argv[3]) : 2);
  std::filesystem::remove_all(folder);
}
