// How fast training data come, and how soon.
//
//   data_loader [--steps N]             tokens per second of one core from a token file in the page cache: Dataset,
//                                       three blended sources; beside the machine's copying bandwidth; pread
//                                       against a memory map; nanoseconds a sample for the order and the blend
//   data_loader --huge DOCUMENTS        first batch of a set of 10^11 tokens (a sparse file of 400 GB; its index is
//   real:
//                                       20 bytes a document), the index not in the page cache
//   data_loader --make PREFIX           writes the token file that the first form reads
//   data_loader --read PREFIX --length T --steps N     for bench/peers/data_loader.py: {"tokens", "seconds"}
//
// Tables for people, and a line of JSON each.
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "core/check.h"
#include "data/loader.h"
#include "data/open.h"
#include "data/permutation.h"
#include "data/token_file_writer.h"

namespace photon {
namespace {

constexpr int64_t kSequences = 64, kRounds = 5;
constexpr int32_t kVocabulary = 32000;

// Of this thread's core: on a busy machine the clock on the wall counts others too.
template <typename F>
double CoreSeconds(F&& run) {
  const auto now = [] {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  run();
  return now() - start;
}

// Bytes copied per second (read and written count once) by one thread between buffers larger than the caches.
double CopyBandwidth() {
  std::vector<char> from(size_t{128} << 20, 1), to(from.size());
  double best = 1e30;
  for (int i = 0; i < 3; ++i) {
    best = std::min(best, CoreSeconds([&] { std::memcpy(to.data(), from.data(), to.size()); }));
  }
  return static_cast<double>(from.size()) / best;
}

// Documents of 100 to 1,500 ids, as web text has; 48 M ids.
void Make(const std::string& prefix) {
  auto writer = TokenFileWriter::Create(prefix, kVocabulary);
  PHOTON_CHECK(writer.ok()) << writer.status().message();
  const Philox random(1, 0);
  std::vector<int32_t> document;
  for (uint64_t d = 0; d < 60000; ++d) {
    const auto bits = random.Block(d);
    document.assign(100 + bits[0] % 1400, static_cast<int32_t>(bits[1] % kVocabulary));
    PHOTON_CHECK(writer->Append(document).ok() && writer->EndDocument().ok());
  }
  PHOTON_CHECK(writer->Finish().ok() && writer->Publish().ok());
}

std::shared_ptr<const TrainingData> Open(const std::vector<std::string>& prefixes, int64_t length) {
  DataConfig config;
  config.set_sequence_length(static_cast<int32_t>(length));
  config.set_valid_fraction(0);
  for (size_t i = 0; i < prefixes.size(); ++i) {
    config.add_source()->set_prefix(prefixes[i]);
    config.mutable_source(static_cast<int>(i))->set_weight(static_cast<double>(1 + i));
  }
  auto data = OpenData(config, kVocabulary, 16);
  PHOTON_CHECK(data.ok()) << data.status().message();
  return data->train;
}

double BatchSeconds(const BatchSource& source, int64_t steps) {
  return CoreSeconds([&] {
    for (int64_t step = 0; step < steps; ++step) PHOTON_CHECK(source.Batch(step, kSequences, 0, kSequences).ok());
  });
}

void Report(const char* what, int64_t length, double tokens_per_s, double copy) {
  // A position: 2 bytes of the file, and 4 + 4 + 1 + 1 of a batch.
  const double share = 12 * tokens_per_s / copy;
  std::printf("%-22s T = %-5lld %6.0f M tokens/s  %4.0f %% of one thread's memcpy (%.1f GB/s)\n", what,
              static_cast<long long>(length), 1e-6 * tokens_per_s, 100 * share, 1e-9 * copy);
  std::printf(
      "{\"bench\": \"data_loader\", \"what\": \"%s\", \"length\": %lld, \"tokens_per_s\": %.4g, \"share_of_memcpy\": "
      "%.3f}\n",
      what, static_cast<long long>(length), tokens_per_s, share);
}

void Throughput(const std::string& folder, int64_t steps) {
  std::vector<std::string> prefixes;
  for (const char* name : {"/a", "/b", "/c"}) {
    prefixes.push_back(folder + name);
    Make(prefixes.back());
  }
  for (const int64_t length : {1024, 2048}) {
    const auto one = Open({prefixes[0]}, length), three = Open(prefixes, length);
    const auto tokens = static_cast<double>(steps * kSequences * length);
    std::vector<double> direct, blended, copy;
    for (int64_t round = 0; round < kRounds; ++round) {  // in turns: the machine is shared
      copy.push_back(CopyBandwidth());
      direct.push_back(tokens / BatchSeconds(*one, steps));
      blended.push_back(tokens / BatchSeconds(*three, steps));
    }
    Report("one source", length, Median(direct), Median(copy));
    Report("three blended", length, Median(blended), Median(copy));
  }
}

// Microseconds to fetch 1024 ids of two bytes from a random place.
void PreadAgainstMap(const std::string& path) {
  constexpr int64_t kDraws = 20000, kBytes = 2048;
  const int fd = open(path.c_str(), O_RDONLY);
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  std::vector<char> piece(kBytes);
  const Philox random(3, 0);
  const auto place = [&](int64_t i) {
    return static_cast<int64_t>(random.Uniform(i) * static_cast<double>(size - kBytes));
  };
  std::vector<double> read, fresh, warm;
  for (int64_t round = 0; round < kRounds; ++round) {
    read.push_back(CoreSeconds([&] {
      for (int64_t i = 0; i < kDraws; ++i) PHOTON_CHECK(pread(fd, piece.data(), kBytes, place(i)) == kBytes);
    }));
    auto* map = static_cast<char*>(mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0));
    for (auto* seconds : {&fresh, &warm}) {  // pages not yet, and already, in this process's tables
      seconds->push_back(CoreSeconds([&] {
        for (int64_t i = 0; i < kDraws; ++i) std::memcpy(piece.data(), map + place(i), kBytes);
      }));
    }
    munmap(map, size);
  }
  close(fd);
  const double us = 1e6 / kDraws;
  std::printf("2 kB from the page cache: pread %.2f us, a new memory map %.2f us, the same again %.2f us\n",
              us * Median(read), us * Median(fresh), us * Median(warm));
}

void Orders() {
  constexpr int64_t kDraws = 2'000'000;
  int64_t sum = 0;
  const Permutation order(65'536'000, 1, 0);  // 134 G tokens at T = 2048
  const double permuted = CoreSeconds([&] {
    for (int64_t i = 0; i < kDraws; ++i) sum += order(i);
  });
  std::vector<int64_t> parts;
  for (int64_t i = 1; i <= 22; ++i) parts.push_back(1000 * i * i + 7);  // as many as the Pile has
  const auto blend = *Blend::Create(parts, 1);
  const double blended = CoreSeconds([&] {
    for (int64_t i = 0; i < kDraws; ++i) sum += blend->At(i).rank;
  });
  const double jump = Seconds([&] { sum += blend->At(int64_t{1} << 50).rank; });
  std::printf("order: permutation %.0f ns a sample, blend of 22 %.0f ns, at sample 2^50 %.2f ms (checksum %lld)\n",
              1e9 * permuted / kDraws, 1e9 * blended / kDraws, 1e3 * jump, static_cast<long long>(sum));
}

template <typename T>
void Append(std::FILE* file, T value) {
  PHOTON_CHECK(std::fwrite(&value, sizeof value, 1, file) == 1);
}

// 10^11 ids of 32 bits, all 0, which are holes; documents of lengths that vary by a factor of three.
void MakeHuge(const std::string& prefix, int64_t documents) {
  constexpr int64_t kTokens = 100'000'000'000;
  std::vector<int32_t> lengths(documents);
  const int64_t mean = kTokens / documents;
  int64_t left = kTokens;
  for (int64_t d = 0; d < documents; ++d) {
    const auto spread = static_cast<int64_t>((d * 2654435761u) >> 8 & 0xffff);
    lengths[d] = static_cast<int32_t>(d + 1 < documents ? std::min(left, mean / 2 + mean * spread / 0x10000) : left);
    left -= lengths[d];
  }
  std::FILE* file = std::fopen((prefix + ".idx").c_str(), "wb");
  PHOTON_CHECK(file != nullptr);
  PHOTON_CHECK(std::fwrite(kIndexMagic, kIndexMagicBytes, 1, file) == 1);
  Append(file, uint64_t{1});
  Append(file, static_cast<uint8_t>(IdType::kI32));
  Append(file, static_cast<uint64_t>(documents));
  Append(file, static_cast<uint64_t>(documents + 1));
  for (int32_t length : lengths) Append(file, length);
  int64_t pointer = 0;
  for (int32_t length : lengths) {
    Append(file, pointer);
    pointer += int64_t{4} * length;
  }
  for (int64_t d = 0; d <= documents; ++d) Append(file, d);
  PHOTON_CHECK(std::fflush(file) == 0 && fsync(fileno(file)) == 0);
  posix_fadvise(fileno(file), 0, 0, POSIX_FADV_DONTNEED);
  std::fclose(file);
  const int fd = open((prefix + ".bin").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  PHOTON_CHECK(fd >= 0 && ftruncate(fd, 4 * kTokens) == 0) << "no sparse file of 400 GB here";
  close(fd);
}

void Huge(const std::string& folder, int64_t documents) {
  MakeHuge(folder + "/huge", documents);
  DataConfig config;
  config.set_train(folder + "/huge");
  const double start = Now();
  auto data = OpenData(config, kVocabulary, 16);
  PHOTON_CHECK(data.ok()) << data.status().message();
  const double opened = Now() - start;
  PHOTON_CHECK(data->train->sources()[0].dataset->file().Fingerprint().ok());
  auto loader = Loader::Create(data->train, {.batch_sequences = kSequences});
  (*loader)->Seek(1'000'000);
  PHOTON_CHECK((*loader)->Next().ok());
  const double first = Now() - start;
  const double second = Seconds([&] { PHOTON_CHECK((*loader)->Next().ok()); });
  std::printf(
      "10^11 tokens in %lld documents: open %.1f ms, first batch (step 10^6, 64 x 1024) after %.1f ms, next %.1f ms\n",
      static_cast<long long>(documents), 1e3 * opened, 1e3 * first, 1e3 * second);
  std::printf(
      "{\"bench\": \"data_loader_first_batch\", \"documents\": %lld, \"open_s\": %.4g, \"first_batch_s\": %.4g}\n",
      static_cast<long long>(documents), opened, first);
}

int Main(int argc, char** argv) {
  CLI::App app("How fast training data come");
  int64_t steps = 100, length = 1024, huge = 0;
  std::string make, read;
  app.add_option("--steps", steps, "batches of 64 sequences a round");
  app.add_option("--length", length, "tokens of a sequence, with --read");
  app.add_option("--huge", huge, "documents of a set of 10^11 tokens");
  app.add_option("--make", make, "PREFIX to write");
  app.add_option("--read", read, "PREFIX to read");
  CLI11_PARSE(app, argc, argv);
  if (!make.empty()) return Make(make), 0;
  if (!read.empty()) {
    const auto data = Open({read}, length);
    BatchSeconds(*data, 10);
    const double seconds = BatchSeconds(*data, steps);
    std::printf("{\"tokens\": %lld, \"seconds\": %.6g}\n", static_cast<long long>(steps * kSequences * length),
                seconds);
    return 0;
  }
  const std::string folder = std::filesystem::temp_directory_path() / ("photon_bench_data." + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  if (huge > 0) {
    Huge(folder, huge);
  } else {
    Throughput(folder, steps);
    PreadAgainstMap(folder + "/a.bin");
    Orders();
  }
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace photon

int main(int argc, char** argv) { return photon::Main(argc, argv); }
