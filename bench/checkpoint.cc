// What a checkpoint costs over the disk itself: WriteCheckpoint and Verify against plain write + fsync of as many bytes
// in files of the same sizes, taking turns in one run. Usage: checkpoint [FOLDER [MEGABYTES [RANKS [ROUNDS]]]].
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
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

void SaveOnce(const std::string& dir, int ranks, std::vector<std::vector<float>>& values) {
  auto comms = ThreadCommunicators(ranks);
  OnThreads(ranks, [&](int r) {
    const absl::Status status = WriteCheckpoint(*comms[r], dir, Contents(r, ranks, values[r]));
    PHOTON_CHECK(status.ok()) << status.ToString();
  });
}

void VerifyOnce(const std::string& dir, int ranks) {
  auto comms = ThreadCommunicators(ranks);
  OnThreads(ranks, [&](int r) {
    const auto reader = CheckpointReader::Open(dir);
    PHOTON_CHECK(reader.ok() && reader->Verify(*comms[r], "").ok());
  });
}

void Run(const std::string& folder, int64_t megabytes, int ranks, int rounds) {
  const int64_t elements = megabytes * 1000000 / 4 / ranks / kTensors * kTensors;
  std::vector<std::vector<float>> values(ranks, std::vector<float>(elements, 1.25f));
  const double bytes = static_cast<double>(elements) * 4 * ranks;
  std::printf("%d ranks, %.0f MB in %s; GB/s\n%12s %12s %12s %8s\n", ranks, bytes / 1e6, folder.c_str(), "plain",
              "checkpoint", "verify", "ratio");
  const std::string dir = folder + "/checkpoint";
  std::vector<double> plain, saved, verified, ratios;
  for (int round = 0; round <= rounds; ++round) {
    const auto write_plainly = [&] {
      const double seconds = Seconds(
          [&] { OnThreads(ranks, [&](int r) { WritePlainly(folder + "/plain" + std::to_string(r), values[r]); }); });
      for (int r = 0; r < ranks; ++r) std::filesystem::remove(folder + "/plain" + std::to_string(r));
      return seconds;
    };
    const auto save = [&] { return Seconds([&] { SaveOnce(dir, ranks, values); }); };
    // Who goes first takes turns: the disk may still be busy with what came before.
    double p = 0, s = 0;
    if (round % 2 == 0) p = write_plainly(), s = save();
    if (round % 2 == 1) s = save(), p = write_plainly();
    const double v = Seconds([&] { VerifyOnce(dir, ranks); });
    std::filesystem::remove_all(dir);
    if (round == 0) continue;  // warms up
    plain.push_back(p), saved.push_back(s), verified.push_back(v), ratios.push_back(p / s);
    std::printf("%12.2f %12.2f %12.2f %8.2f\n", bytes / p / 1e9, bytes / s / 1e9, bytes / v / 1e9, p / s);
  }
  std::printf("median: a checkpoint is written at %.0f %% of the plain speed\n", 100 * Median(ratios));
  std::printf("%s\n", nlohmann::json({{"benchmark", "checkpoint"},
                                      {"ranks", ranks},
                                      {"bytes", bytes},
                                      {"plain_bytes_per_s", bytes / Median(plain)},
                                      {"checkpoint_bytes_per_s", bytes / Median(saved)},
                                      {"verify_bytes_per_s", bytes / Median(verified)},
                                      {"ratio", Median(ratios)}})
                          .dump()
                          .c_str());
}

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  const std::string folder = (argc > 1 ? std::string(argv[1]) : std::string(".")) + "/checkpoint-bench";
  std::filesystem::create_directories(folder);
  photon::Run(folder, argc > 2 ? std::atoll(argv[2]) : 400, argc > 3 ? std::atoi(argv[3]) : 2,
              argc > 4 ? std::atoi(argv[4]) : 7);
  std::filesystem::remove_all(folder);
}
