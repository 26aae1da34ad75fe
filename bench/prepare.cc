// What `photon prepare` costs over tokenising: processor time of the whole pipeline on JSON lines, plain and packed,
// against the tokenizer alone on the same texts in memory, interleaved; and its peak memory.
//
//   build/bench/prepare --tokenizer F --text F    a tokenizer of any kind; plain text to make documents of
#include "data/prepare.h"

#include <sys/resource.h>
#include <zstd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "core/check.h"
#include "core/file.h"
#include "data/tokenizer.h"

namespace photon {
namespace {

constexpr size_t kDocumentBytes = 4000;  // the Pile's mean is 5,900, half of them under 1,500

double ProcessorSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * t.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <typename F>
double Spent(F&& run) {
  const double before = ProcessorSeconds();
  run();
  return ProcessorSeconds() - before;
}

std::vector<std::string> MakeDocuments(const std::string& text, size_t bytes) {
  std::vector<std::string> documents;
  for (size_t total = 0, at = 0; total < bytes;) {
    const size_t end = std::min(text.find('\n', std::min(at + kDocumentBytes, text.size())), text.size());
    documents.push_back(text.substr(at, end - at));
    total += end - at;
    at = end < text.size() ? end + 1 : 0;
  }
  return documents;
}

std::string Pack(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), /*level=*/3));
  return packed;
}

struct Options {
  std::string tokenizer, text;
  int64_t megabytes = 8;
  int rounds = 5;
};

struct Side {
  const char* name;
  std::vector<double> seconds = {};
};

void Report(const Options& options, double megabytes, std::vector<Side>& sides) {
  const double alone = Median(sides[0].seconds);
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  nlohmann::ordered_json json = {{"benchmark", "prepare"}, {"tokenizer", options.tokenizer}, {"text_mb", megabytes}};
  std::printf("%-28s %12s %12s %10s\n", "", "cpu s", "MB/s/core", "x alone");
  for (Side& side : sides) {
    const double seconds = Median(side.seconds);
    std::printf("%-28s %12.3f %12.2f %10.3f\n", side.name, seconds, megabytes / seconds, seconds / alone);
    json[side.name] = {{"cpu_s", seconds}, {"mb_per_s_per_core", megabytes / seconds}, {"over_alone", seconds / alone}};
  }
  json["process_peak_mb"] = static_cast<double>(usage.ru_maxrss) * 1024e-6;
  std::printf("%s\n", json.dump().c_str());
}

void Run(const Options& options) {
  const auto folder = std::filesystem::temp_directory_path() / "photon_bench_prepare";
  std::filesystem::create_directories(folder);
  const auto tokenizer = Tokenizer::FromFile(options.tokenizer);
  PHOTON_CHECK(tokenizer.ok()) << tokenizer.status().message();
  const auto text = ReadFile(options.text);
  PHOTON_CHECK(text.ok()) << text.status().message();
  const auto documents = MakeDocuments(*text, static_cast<size_t>(options.megabytes) * 1'000'000);
  std::string lines;
  double megabytes = 0;
  for (const std::string& document : documents) {
    lines += nlohmann::json{{"text", document}, {"meta", {{"pile_set_name", "Pile-CC"}}}}.dump() + "\n";
    megabytes += 1e-6 * static_cast<double>(document.size());
  }
  PHOTON_CHECK(WriteFile(folder / "x.jsonl", lines).ok());
  PHOTON_CHECK(WriteFile(folder / "x.jsonl.zst", Pack(lines)).ok());
  std::vector<Side> sides = {
      {"tokenizer alone"}, {"prepare .jsonl"}, {"prepare .jsonl.zst"}, {"prepare .zst, no dups"}};
  const auto prepare = [&](const char* file, bool drop_duplicates) {
    PrepareOptions run;
    run.inputs = {folder / file};
    run.tokenizer = options.tokenizer;
    run.out = folder / "out";
    run.threads = 1;
    run.drop_duplicates = drop_duplicates;
    run.progress = false;
    run.fresh = true;  // the same call again would find its work done
    const auto info = Prepare(run);
    PHOTON_CHECK(info.ok()) << info.status().message();
  };
  for (int round = 0; round < options.rounds; ++round) {
    sides[0].seconds.push_back(Spent([&] {
      // Prepare loads the tokenizer too, which is no part of the pipeline.
      PHOTON_CHECK(Tokenizer::FromFile(options.tokenizer).ok());
      for (const std::string& document : documents) PHOTON_CHECK(!(*tokenizer)->Encode(document).empty());
    }));
    sides[1].seconds.push_back(Spent([&] { prepare("x.jsonl", false); }));
    sides[2].seconds.push_back(Spent([&] { prepare("x.jsonl.zst", false); }));
    sides[3].seconds.push_back(Spent([&] { prepare("x.jsonl.zst", true); }));
  }
  Report(options, megabytes, sides);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  photon::Options options;
  CLI::App app("Cost of photon prepare over tokenising");
  app.add_option("--tokenizer", options.tokenizer, "SentencePiece model or tokenizer.json")->required();
  app.add_option("--text", options.text, "Plain text to make documents of")->required();
  app.add_option("--megabytes", options.megabytes, "Text per run")->capture_default_str();
  app.add_option("--rounds", options.rounds, "Interleaved runs")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  photon::Run(options);
}
