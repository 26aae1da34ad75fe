// How fast a tokenizer encodes: MB/s over documents of text files, beside the speed at which one thread checks that the
// text is UTF-8 (nothing that reads all characters is faster), and what words of a megabyte take, which must not grow
// with their square. bench/peers/bpe.py runs it beside the library `tokenizers`.
#include "data/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <ctime>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "bench/timing.h"
#include "core/file.h"
#include "core/random.h"
#include "data/utf8.h"

namespace photon {
namespace {

struct Arguments {
  std::string tokenizer;
  std::vector<std::string> inputs;
  int threads = 1;
  int passes = 5;
  int64_t document_bytes = 4096;
  std::string ids;
  bool words = true;
};

template <typename T>
T Get(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "%s\n", std::string(value.status().message()).c_str());
  std::exit(1);
}

// Cut after the first newline from document_bytes on, as bpe.py does.
std::vector<std::string> ReadDocuments(const Arguments& arguments) {
  std::vector<std::string> documents;
  for (const std::string& path : arguments.inputs) {
    const std::string text = Get(ReadFile(path, "input"));
    for (size_t at = 0; at < text.size();) {
      const size_t newline = text.find('\n', at + arguments.document_bytes);
      const size_t end = newline == std::string::npos ? text.size() : newline + 1;
      documents.push_back(text.substr(at, end - at));
      at = end;
    }
  }
  return documents;
}

// Ids of each document; documents are taken by whichever thread is free.
std::vector<std::vector<int32_t>> EncodeAll(const Tokenizer& tokenizer, const std::vector<std::string>& documents,
                                            int threads) {
  std::vector<std::vector<int32_t>> ids(documents.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < documents.size(); i = next++) ids[i] = tokenizer.Encode(documents[i]);
  };
  std::vector<std::jthread> helpers;
  for (int i = 1; i < threads; ++i) helpers.emplace_back(work);
  work();
  helpers.clear();
  return ids;
}

// Seconds of the processor, of all threads: what a busy machine takes away is not in them.
template <typename F>
double ProcessorSeconds(F&& run) {
  const std::clock_t start = std::clock();
  run();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// Seconds for one word of `bytes`, by kind.
nlohmann::json TimeWords(const Tokenizer& tokenizer, size_t bytes) {
  const Philox random(1, 0);
  std::string letters;
  for (size_t i = 0; i < bytes; ++i) letters += static_cast<char>('a' + random.Block(i)[0] % 26);
  nlohmann::json seconds;
  for (const auto& [name, text] : {std::pair<const char*, std::string>{"random letters", letters},
                                   {"one letter", std::string(bytes, 'a')},
                                   {"spaces", std::string(bytes, ' ')},
                                   {"newlines", std::string(bytes, '\n')},
                                   {"spaces and a letter", std::string(bytes, ' ') + "a"},
                                   {"punctuation", std::string(bytes, '-')}}) {
    double best = 1e30;
    for (int i = 0; i < 3; ++i) best = std::min(best, ProcessorSeconds([&, &text = text] { tokenizer.Encode(text); }));
    seconds[name] = best;
  }
  return seconds;
}

void PrintWords(const Tokenizer& tokenizer, nlohmann::json* report) {
  constexpr size_t kLarge = 1 << 20, kFactor = 8;
  const nlohmann::json large = TimeWords(tokenizer, kLarge), small = TimeWords(tokenizer, kLarge / kFactor);
  std::printf("one word of 1 MiB     seconds   of 1/8 MiB   ratio (%zu where linear)\n", kFactor);
  for (const auto& [name, seconds] : large.items()) {
    const double ratio = seconds.get<double>() / small[name].get<double>();
    std::printf("  %-20s %7.3f      %7.4f     %5.1f\n", name.c_str(), seconds.get<double>(), small[name].get<double>(),
                ratio);
    (*report)["words"][name] = {{"seconds", seconds}, {"ratio", ratio}};
  }
}

void Run(const Arguments& arguments) {
  const auto tokenizer = Get(Tokenizer::FromFile(arguments.tokenizer));
  const std::vector<std::string> documents = ReadDocuments(arguments);
  size_t bytes = 0, tokens = 0;
  for (const std::string& document : documents) bytes += document.size();
  std::string ids;
  for (const auto& of_document : EncodeAll(*tokenizer, documents, arguments.threads)) {  // warms the caches too
    tokens += of_document.size();
    if (arguments.ids.empty()) continue;
    ids.append(reinterpret_cast<const char*>(of_document.data()), of_document.size() * sizeof(int32_t));
  }
  if (!arguments.ids.empty() && !WriteFile(arguments.ids, ids).ok()) std::exit(1);
  std::vector<double> seconds, processor, checks;
  size_t valid = 0;
  for (int pass = 0; pass < arguments.passes; ++pass) {
    seconds.push_back(Seconds(
        [&] { processor.push_back(ProcessorSeconds([&] { EncodeAll(*tokenizer, documents, arguments.threads); })); }));
    checks.push_back(Seconds([&] {
      for (const std::string& document : documents) valid += FirstInvalidUtf8(document);
    }));
  }
  const double rate = static_cast<double>(bytes) / Median(seconds);
  const double limit = static_cast<double>(valid) / arguments.passes / Median(checks) * arguments.threads;
  nlohmann::json report = {{"benchmark", "tokenizer"},
                           {"bytes", bytes},
                           {"tokens", tokens},
                           {"threads", arguments.threads},
                           {"seconds", Median(seconds)},
                           {"bytes_per_s", rate},
                           {"processor_seconds", Median(processor)},
                           {"limit_bytes_per_s", limit}};
  const double megabytes = 1e-6 * static_cast<double>(bytes);
  std::printf("%zu documents, %zu bytes, %zu tokens, %d threads\n", documents.size(), bytes, tokens, arguments.threads);
  std::printf("%.1f MB/s, %.1f MB a second of processor, %.1f M tokens/s, %.2f %% of checking for UTF-8 (%.0f MB/s)\n",
              1e-6 * rate, megabytes / Median(processor), 1e-6 * static_cast<double>(tokens) / Median(seconds),
              100 * rate / limit, 1e-6 * limit);
  if (arguments.words) PrintWords(*tokenizer, &report);
  std::printf("%s\n", report.dump().c_str());
}

}  // namespace
}  // namespace photon

int main(int argc, char** argv) {
  photon::Arguments arguments;
  CLI::App app("Speed of a tokenizer: a table, then a line of JSON");
  app.add_option("--tokenizer", arguments.tokenizer, "tokenizer.json or a SentencePiece model")->required();
  app.add_option("--input", arguments.inputs, "Text files")->required();
  app.add_option("--threads", arguments.threads)->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--passes", arguments.passes, "over the text; the median counts")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--document-bytes", arguments.document_bytes, "Documents end at the next newline")
      ->capture_default_str();
  app.add_option("--ids", arguments.ids, "A file to write all ids to, as 32-bit integers");
  app.add_flag("!--no-words", arguments.words, "Leave out the words of a megabyte");
  CLI11_PARSE(app, argc, argv);
  photon::Run(arguments);
}
