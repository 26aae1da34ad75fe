// How fast training data comes: tokens per second out of Dataset and Loader on a token file in the page cache, beside
// the machine's memory bandwidth, and nanoseconds per sample of the keyed permutation.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "bench/timing.h"
#include "core/check.h"
#include "data/loader.h"
#include "data/permutation.h"
#include "data/token_file_writer.h"

namespace photon {
namespace {

// Bytes read per second by one thread from a buffer larger than the caches, best of five.
double ReadBandwidth() {
  std::vector<uint64_t> buffer(size_t{32} << 20, 1);
  double best = 0;
  uint64_t sum = 0;
  for (int i = 0; i < 5; ++i) {
    const double seconds = Seconds([&] {
      for (uint64_t v : buffer) sum += v;
    });
    best = std::max(best, static_cast<double>(buffer.size() * sizeof(uint64_t)) / seconds);
  }
  PHOTON_CHECK(sum == 5 * buffer.size());
  return best;
}

std::shared_ptr<const Dataset> Synthetic(const std::string& prefix) {
  auto writer = TokenFileWriter::Create(prefix, 32000);
  PHOTON_CHECK(writer.ok()) << writer.status().message();
  const Philox random(1, 0);
  std::vector<int32_t> document;
  for (uint64_t d = 0; d < 60000; ++d) {  // 100 to 1,500 ids, as web text has
    const auto bits = random.Block(d);
    document.assign(100 + bits[0] % 1400, static_cast<int32_t>(bits[1] % 32000));
    PHOTON_CHECK(writer->Append(document).ok() && writer->EndDocument().ok());
  }
  PHOTON_CHECK(writer->Finish().ok() && writer->Publish().ok());
  auto file = TokenFile::Open(prefix);
  PHOTON_CHECK(file.ok()) << file.status().message();
  return *Dataset::Create(
      *file, {0, (*file)->documents()},
      {.sequence_length = 2048, .align = 16, .document_mask = true, .seed = 1, .vocab_size = 32000, .padding = 2});
}

void Run() {
  const auto folder = std::filesystem::temp_directory_path() / "photon_bench_data";
  std::filesystem::create_directories(folder);
  const auto dataset = Synthetic(folder / "x");
  constexpr int64_t kSequences = 64, kSteps = 150;
  const auto tokens = static_cast<double>(kSteps * kSequences * dataset->options().sequence_length);
  const double direct = Seconds([&] {
    for (int64_t step = 0; step < kSteps; ++step) PHOTON_CHECK(dataset->Batch(step, kSequences, 0, kSequences).ok());
  });
  const double loaded = Seconds([&] {
    auto loader = Loader::Create(dataset, {.batch_sequences = kSequences});
    for (int64_t step = 0; step < kSteps; ++step) PHOTON_CHECK((*loader)->Next().ok());
  });
  // A position: 2 bytes read, 4 + 4 + 1 + 1 written twice (filled, then set).
  constexpr double kBytesPerToken = 2 + 2 * 10;
  const double bandwidth = ReadBandwidth();
  std::printf("dataset: %.0f M tokens/s, %.0f %% of one thread's memory bandwidth (%.1f GB/s)\n",
              1e-6 * tokens / direct, 100 * kBytesPerToken * tokens / direct / bandwidth, 1e-9 * bandwidth);
  std::printf("loader:  %.0f M tokens/s\n", 1e-6 * tokens / loaded);

  const Permutation order(65'536'000, 1, 0);  // 134 G tokens at T = 2048
  constexpr int64_t kDraws = 5'000'000;
  int64_t sum = 0;
  const double permuted = Seconds([&] {
    for (int64_t i = 0; i < kDraws; ++i) sum += order(i);
  });
  std::printf("permutation: %.0f ns a sample (checksum %lld)\n", 1e9 * permuted / kDraws, static_cast<long long>(sum));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace photon

int main() { photon::Run(); }
