// Memory of `photon prepare`, and lines of 100 MB.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "data/prepare.h"
#include "data/tokenizer.h"
#include "data/train_tokenizer.h"
#include "tests/data/packed.h"
#include "tests/support/child_process.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using testing::TemporaryFolder;

class PrepareMemoryTest : public ::testing::Test {
 protected:
  PrepareMemoryTest() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += "the quick brown fox jumps over the lazy dog and runs home\n";
    options_.tokenizer = folder_.Write("t.model", *TrainTokenizer({.files = {folder_.Write("train.txt", text)}}, 300));
    options_.out = folder_ / "x";
    options_.progress = false;
    options_.threads = 2;
    options_.fresh = true;  // several calls under one name
  }

  // Prepare's peak memory over what the process had before, in MiB; 255 for more than that, or where Prepare failed.
  int Peak() {
    return testing::InChild([&] {
      rusage before, after;
      getrusage(RUSAGE_SELF, &before);
      if (!Prepare(options_).ok()) return 255;
      getrusage(RUSAGE_SELF, &after);
      return static_cast<int>(std::min<int64_t>((after.ru_maxrss - before.ru_maxrss) >> 10, 255));
    });
  }

  TemporaryFolder folder_;
  PrepareOptions options_;
};

// 96 MB of text, packed to little, through two threads. What is held is at most: text under way 8 MB (the budget of
// prepare.cc), its ids 4 bytes each and at least a byte of text each, 32 MB, what the tokenizer needs for 256 kB a
// thread, about 100 bytes a byte: 50 MB, buffers of files 4 MB. A run that kept all would hold the 96 MB and 4 bytes
// times 30 M ids more than these 94 MB.
TEST_F(PrepareMemoryTest, DoesNotGrowWithTheCorpus) {
  std::string text;
  while (text.size() < 1 << 20) {
    absl::StrAppend(&text, "{\"text\": \"the lazy dog jumps over the fox and runs home ", std::string(40, 'a'),
                    "\"}\n");
  }
  const std::string packed = testing::Zstd(text);
  std::string file;
  for (int i = 0; i < 96; ++i) file += packed;
  options_.inputs = {folder_.Write("large.jsonl.zst", file)};
  EXPECT_LT(Peak(), 94);
  EXPECT_GT(std::filesystem::file_size(folder_ / "x.bin"), 50u << 20);
}

// A document of 100 MB in one line of JSON lines.
TEST_F(PrepareMemoryTest, ALineOf100Megabytes) {
  const std::string line = "the lazy dog jumps over the fox\n";
  std::string json = "{\"text\": \"", text;
  while (text.size() < 100'000'000) {
    text += line;
    json += "the lazy dog jumps over the fox\\n";
  }
  options_.inputs = {folder_.Write("huge.jsonl", json + "\"}\n{\"text\": \"small\"}")};
  const auto info = Prepare(options_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->documents, 2);
  EXPECT_EQ(info->text_bytes, static_cast<int64_t>(text.size()) - 1 + 5);
  // The same line again and again: its tokens again and again, after the first.
  const auto tokenizer = *Tokenizer::FromFile(options_.tokenizer);
  const auto first = static_cast<int64_t>(tokenizer->Encode(line).size());
  const auto two = static_cast<int64_t>(tokenizer->Encode(line + line).size());
  const auto small = static_cast<int64_t>(tokenizer->Encode("small").size());
  const auto lines = static_cast<int64_t>(text.size() / line.size());
  EXPECT_EQ(info->tokens, first + (lines - 1) * (two - first) - 1 + 2 + small + 2) << "less the last newline";
}

}  // namespace
}  // namespace photon
