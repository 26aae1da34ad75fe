// `photon prepare` on what corpora are like: many packed files, several sources, duplicates, bad lines, kills, full
// disks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/file.h"
#include "core/folder.h"
#include "data/prepare.h"
#include "data/token_file.h"
#include "data/token_reader.h"
#include "data/tokenizer.h"
#include "data/train_tokenizer.h"
#include "tests/data/packed.h"
#include "tests/support/child_process.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::Gzip;
using ::testing::HasSubstr;
using testing::InChild;
using ::testing::IsEmpty;
using testing::TemporaryFolder;
using testing::Zstd;

std::string Line(const std::string& text, const std::string& source = "") {
  return absl::StrCat("{\"text\": \"", text, "\"",
                      source.empty() ? "" : absl::StrCat(", \"meta\": {\"pile_set_name\": \"", source, "\"}"), "}\n");
}

class PrepareCorpusTest : public ::testing::Test {
 protected:
  PrepareCorpusTest() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += "the quick brown fox jumps over the lazy dog and runs home\n";
    const std::string bytes = *TrainTokenizer({.files = {folder_.Write("train.txt", text)}}, 300);
    options_.tokenizer = folder_.Write("t.model", bytes);
    options_.out = folder_ / "x";
    options_.progress = false;
    tokenizer_ = *Tokenizer::FromFile(options_.tokenizer);
  }

  std::vector<std::string> Documents(const std::string& prefix) const {
    const auto file = TokenFile::Open(prefix);
    EXPECT_TRUE(file.ok()) << file.status();
    std::vector<std::string> texts;
    for (int64_t d = 0; file.ok() && d < (*file)->documents(); ++d) {
      const int64_t begin = *(*file)->DocumentBegin(d), end = *(*file)->DocumentBegin(d + 1);
      std::vector<int32_t> ids(end - begin);
      EXPECT_TRUE(TokenReader(**file).Read(begin, absl::MakeSpan(ids)).ok());
      texts.push_back(tokenizer_->Decode(ids));
    }
    return texts;
  }

  // All that a call left, by name, but for the inputs.
  std::map<std::string, std::string> Outputs() const {
    std::map<std::string, std::string> files;
    for (const std::string& name : folder_.Names()) {
      if (absl::StartsWith(name, "x.") && name != "x.partial") files[name] = folder_.Read(name);
    }
    return files;
  }

  void RemoveOutputs() const {
    for (const std::string& name : folder_.Names()) {
      if (absl::StartsWith(name, "x.")) {
        EXPECT_TRUE(RemoveTree(folder_ / name).ok());
      }
    }
  }

  // Four files of 250 kB each, of every kind, with sources, duplicates and bad lines.
  void WriteCorpus(int documents = 1500) {
    std::mt19937 random(3);
    const std::vector<std::string> words = {"fox", "the", "lazy", "dog ", "home\\n", "qu\\u00e9", "日本", "zebra"};
    const std::vector<std::string> sources = {"Pile-CC", "Wikipedia (en)", ""};
    std::vector<std::string> files(3);
    for (int i = 0; i < documents * 3; ++i) {
      std::string text = absl::StrCat(i % 10 == 0 ? 0 : i);
      for (int w = static_cast<int>(random() % 60) * (i % 10 != 0); w > 0; --w) {
        absl::StrAppend(&text, " ", words[random() % words.size()]);
      }
      files[i % 3] += Line(text, sources[random() % 3 * (i % 10 != 0)]);
      if (i % 500 == 7) files[i % 3] += "{broken\n";
    }
    std::string plain;
    for (int i = 0; plain.size() < files[0].size(); ++i)
      plain += i % 400 == 0 ? "%\n" : absl::StrCat("the dog ", i, "\n");
    options_.inputs = {folder_.Write("a.jsonl", files[0]), folder_.Write("b.jsonl.gz", Gzip(files[1])),
                       folder_.Write("c.txt", plain), folder_.Write("d.jsonl.zst", Zstd(files[2]) + Zstd(files[2]))};
    options_.document_separator = "%";
    options_.on_error = OnError::kSkip;
    options_.drop_duplicates = true;
    options_.split_by_source = true;
  }

  absl::Status Failure() const { return Prepare(options_).status(); }

  TemporaryFolder folder_;
  PrepareOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(PrepareCorpusTest, PackedFilesByPattern) {
  folder_.Write("b.jsonl.zst", Zstd(Line("two")) + Zstd(Line("three")));
  folder_.Write("a.jsonl.gz", Gzip(Line("one")));
  options_.inputs = {folder_ / "*.jsonl.*"};
  ASSERT_TRUE(Prepare(options_).ok());
  EXPECT_THAT(Documents(options_.out), ElementsAre("one", "two", "three"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.partial"));
}

TEST_F(PrepareCorpusTest, TheReportCountsBySource) {
  options_.inputs = {folder_.Write(
      "i.jsonl", Line("one", "Pile-CC") + Line("two", "ArXiv") + Line("three") + Line("four", "Pile-CC"))};
  const auto info = Prepare(options_);
  ASSERT_TRUE(info.ok()) << info.status();
  ASSERT_EQ(info->sources.size(), 3u);
  EXPECT_EQ(info->sources.at("Pile-CC").documents, 2);
  EXPECT_EQ(info->sources.at("Pile-CC").bytes, 7);
  EXPECT_EQ(info->sources.at("none").bytes, 5);
  EXPECT_EQ(info->sources.at("ArXiv").tokens, static_cast<int64_t>(tokenizer_->Encode("two").size()) + 2);
  EXPECT_FALSE(info->split());
  const auto read = TokenFileInfo::Read(options_.out);
  EXPECT_EQ((*read)->ToJson(), info->ToJson());
}

TEST_F(PrepareCorpusTest, ATokenFileForEachSource) {
  options_.split_by_source = true;
  options_.inputs = {folder_.Write("i.jsonl", Line("one", "Pile-CC") + Line("two", "pile cc") + Line("three") +
                                                  Line("four", "Pile-CC") + Line("five", "none") +
                                                  Line("six", "日本"))};
  folder_.Write("x.idx", "of an earlier call");
  folder_.Write("x.bin", "of an earlier call");
  EXPECT_EQ(Failure().code(), absl::StatusCode::kAlreadyExists);
  options_.fresh = true;
  const auto info = Prepare(options_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_TRUE(info->split());
  EXPECT_THAT(Documents(folder_ / "x.pile-cc"), ElementsAre("one", "four"));
  EXPECT_THAT(Documents(folder_ / "x.pile-cc-2"), ElementsAre("two"));
  EXPECT_THAT(Documents(folder_ / "x.none"), ElementsAre("three", "five"));
  EXPECT_THAT(Documents(folder_ / "x.source"), ElementsAre("six"));
  EXPECT_EQ(info->sources.at("Pile-CC").prefix, "x.pile-cc");
  EXPECT_EQ(info->sources.at("none").documents, 2);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.idx"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.bin"));
  const auto one = TokenFileInfo::Read(folder_ / "x.pile-cc");
  EXPECT_EQ((*one)->tokens, info->sources.at("Pile-CC").tokens);
  EXPECT_EQ((*one)->tokenizer_hash, tokenizer_->hash());
  int64_t tokens = 0, bytes = 0;
  for (const auto& [name, source] : info->sources) tokens += source.tokens, bytes += source.bytes;
  EXPECT_EQ(tokens, info->tokens);
  EXPECT_EQ(bytes, info->text_bytes);
}

// PREFIX.tokenizer.json and PREFIX.tokenizer.model are not to be had by a source.
TEST_F(PrepareCorpusTest, SourcesDoNotTakeTheNamesOfOtherFiles) {
  options_.split_by_source = true;
  options_.inputs = {
      folder_.Write("i.jsonl", Line("one", "Tokenizer") + Line("two", "partial") + Line("three", "Rejects"))};
  const auto info = Prepare(options_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_THAT(Documents(folder_ / "x.tokenizer-2"), ElementsAre("one"));
  EXPECT_THAT(Documents(folder_ / "x.partial-2"), ElementsAre("two"));
  EXPECT_THAT(Documents(folder_ / "x.rejects-2"), ElementsAre("three"));
  EXPECT_EQ(folder_.Read("x.tokenizer.model"), tokenizer_->bytes());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.tokenizer.json"));
}

TEST_F(PrepareCorpusTest, NamesOfDocumentsAreNoSources) {
  options_.split_by_source = true;
  std::string text;
  for (int i = 0; i < 201; ++i) text += Line("x", absl::StrCat("url", i));
  options_.inputs = {folder_.Write("i.jsonl", text)};
  EXPECT_THAT(Failure().message(),
              AllOf(HasSubstr("more than 200 different sources"), HasSubstr("--source-key"), HasSubstr("--fresh")));
}

TEST_F(PrepareCorpusTest, LongNamesOfSourcesAreCutInMessages) {
  std::string text;
  for (int i = 0; i < 201; ++i) text += Line("x", absl::StrCat("url", i, "\\n", std::string(5000, 'y')));
  options_.split_by_source = true;
  options_.inputs = {folder_.Write("i.jsonl", text)};
  EXPECT_THAT(Failure().message(), AllOf(HasSubstr("the last \"url200..\""), ::testing::SizeIs(::testing::Lt(300u))));
}

TEST_F(PrepareCorpusTest, OfDuplicatesTheFirstStays) {
  options_.drop_duplicates = true;
  options_.document_separator = "%";
  options_.inputs = {folder_.Write("a.txt", "one\n%\ntwo\n%\none\n%\none \n"),
                     folder_.Write("b.jsonl", Line("two\\n", "S") + Line("three", "S") + Line("three"))};
  const auto info = Prepare(options_);
  ASSERT_TRUE(info.ok());
  EXPECT_THAT(Documents(options_.out), ElementsAre("one", "two", "one ", "three"));
  EXPECT_EQ(info->duplicates, 3);
  EXPECT_EQ(info->documents, 4);
  EXPECT_EQ(info->text_bytes, 3 + 3 + 4 + 5) << "counts are of what stays";
}

TEST_F(PrepareCorpusTest, AFinishedSetIsReplacedOnlyWhenAsked) {
  options_.split_by_source = true;
  options_.inputs = {folder_.Write("a.jsonl", Line("one", "A") + Line("two", "B"))};
  ASSERT_TRUE(Prepare(options_).ok());
  const auto first = Outputs();
  const auto expect_refused = [&](const std::string& why) {
    const absl::Status status = Failure();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_THAT(status.message(), AllOf(HasSubstr(why), HasSubstr("--fresh"), HasSubstr("choose another --out")));
    EXPECT_EQ(Outputs(), first);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "x.partial"));
  };

  const auto written = std::filesystem::last_write_time(folder_ / "x.a.bin");
  const auto again = Prepare(options_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToJson(), first.at("x.json"));
  EXPECT_EQ(std::filesystem::last_write_time(folder_ / "x.a.bin"), written) << "done already";
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.partial"));

  options_.split_by_source = false;
  expect_refused("--split-by-source was \"given\" and is \"not given\"");
  options_.split_by_source = true;
  options_.inputs = {folder_.Write("b.jsonl", Line("three", "A") + Line("four", "C"))};
  expect_refused("input 1 was");
  folder_.Write("x-b.bin", "of another set");

  options_.fresh = true;  // B's files go with the set that listed them
  ASSERT_TRUE(Prepare(options_).ok());
  EXPECT_THAT(Documents(folder_ / "x.c"), ElementsAre("four"));
  EXPECT_FALSE(Outputs().contains("x.b.bin") || Outputs().contains("x.b.idx") || Outputs().contains("x.b.json"));
  EXPECT_EQ(folder_.Read("x-b.bin"), "of another set");
  options_.split_by_source = false;
  ASSERT_TRUE(Prepare(options_).ok());
  EXPECT_THAT(Outputs(), ::testing::SizeIs(4)) << "x.bin, x.idx, x.json, x.tokenizer.model";

  std::filesystem::remove(folder_ / "x.bin");
  options_.fresh = false;
  ASSERT_TRUE(Prepare(options_).ok()) << "a file is gone: made again";
  EXPECT_THAT(Documents(options_.out), ElementsAre("three", "four"));
}

TEST_F(PrepareCorpusTest, OtherFilesOfTheseNamesStay) {
  options_.inputs = {folder_.Write("a.jsonl", Line("one"))};
  folder_.Write("x.json", "{\"width\": 64}");
  EXPECT_THAT(Failure().message(), HasSubstr("x.json that is no token file's"));
  EXPECT_EQ(folder_.Read("x.json"), "{\"width\": 64}");
  EXPECT_THAT(TokenFileInfo::Read(options_.out).status().message(),
              AllOf(HasSubstr("does not describe a token file"), HasSubstr("no \"tokens\"")));
}

TEST_F(PrepareCorpusTest, BadLinesAreCountedAndListed) {
  options_.inputs = {folder_.Write("a.jsonl", Line("one") + "{]\n" + Line("t\xFFo") + Line("three"))};
  EXPECT_THAT(Failure().message(), HasSubstr("a.jsonl, line 2: not valid JSON"));
  EXPECT_THAT(Outputs(), IsEmpty());
  options_.on_error = OnError::kSkip;
  auto info = Prepare(options_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->skipped_lines, 2);
  EXPECT_THAT(Documents(options_.out), ElementsAre("one", "three"));
  EXPECT_THAT(folder_.Read("x.rejects.jsonl"),
              AllOf(HasSubstr("a.jsonl\",\"line\":2,\"problem\":\"not valid JSON"), HasSubstr("\"line\":3")));
  options_.on_error = OnError::kReplace;
  options_.fresh = true;
  info = Prepare(options_);
  EXPECT_EQ(info->skipped_lines, 1);
  EXPECT_EQ(info->replaced_lines, 1);
  EXPECT_THAT(Documents(options_.out), ElementsAre("one", "t\uFFFDo", "three"));
  options_.inputs = {folder_.Write("a.jsonl", Line("one"))};
  ASSERT_TRUE(Prepare(options_).ok());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.rejects.jsonl")) << "of the call before";
  options_.inputs = {folder_.Write("a.jsonl", "{\n{\n")};
  EXPECT_THAT(Failure().message(), HasSubstr("is empty but for 2 bad lines"));
}

TEST_F(PrepareCorpusTest, MoreBadLinesThanAllowedKeepTheWork) {
  options_.inputs = {folder_.Write("a.jsonl", Line("one") + "{]\n" + Line("two") + Line("three"))};
  options_.on_error = OnError::kSkip;
  options_.max_skipped = 0.2;
  EXPECT_THAT(Failure().message(),
              AllOf(HasSubstr("25 % of the lines are bad, 1 of them"), HasSubstr("--max-skipped")));
  EXPECT_THAT(Outputs(), IsEmpty());
  options_.max_skipped = 0.25;
  ASSERT_TRUE(Prepare(options_).ok());
  EXPECT_THAT(Documents(options_.out), ElementsAre("one", "two", "three"));
}

TEST_F(PrepareCorpusTest, TooManyBadLinesEndALongCallEarly) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += i % 2 == 0 ? "{]\n" : "{\"text\":\"a\"}\n";
  // The archive after it is damaged, which a call that reads on would tell of.
  options_.inputs = {folder_.Write("a.jsonl", text), folder_.Write("b.jsonl.gz", Gzip(Line("b")).substr(0, 9))};
  options_.on_error = OnError::kSkip;
  options_.max_skipped = 0.4;
  const absl::Status status = Failure();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("50 % of the lines are bad, 50000"), HasSubstr("--max-skipped"),
                                      HasSubstr("a call that allows for this goes on from there")));
  options_.max_skipped = 0.6;
  EXPECT_EQ(Failure().code(), absl::StatusCode::kDataLoss) << "goes on, to the damage";
}

TEST_F(PrepareCorpusTest, APipeIsReadOnce) {
  const std::string pipe = folder_ / "pipe.jsonl";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const auto feed = [&](const std::string& text) {
    return std::jthread([&pipe, text] { std::ofstream(pipe, std::ios::binary) << text; });
  };
  options_.inputs = {pipe, folder_.Write("b.jsonl", Line("two"))};
  {
    const auto writer = feed(Line("one"));
    ASSERT_TRUE(Prepare(options_).ok());
  }
  EXPECT_THAT(Documents(options_.out), ElementsAre("one", "two"));

  RemoveOutputs();
  options_.durable_seconds = 0;
  std::string text;
  while (text.size() < 1 << 20) text += Line("one");
  {
    const auto writer = feed(text + "{]\n");
    const absl::Status failure = Failure();
    EXPECT_EQ(failure.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(failure.message(), AllOf(HasSubstr("line "), HasSubstr("start over with --fresh")));
  }
  ASSERT_TRUE(std::filesystem::exists(folder_ / "x.partial/state"));
  const absl::Status status = Failure();  // opens no pipe: nobody writes to it
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("pipe.jsonl, which is a pipe"), HasSubstr("--fresh")));
  options_.fresh = true;
  options_.train_tokenizer = 300;
  options_.tokenizer = "";
  EXPECT_THAT(Failure().message(), AllOf(HasSubstr("pipe.jsonl is a pipe"), HasSubstr("reads the inputs twice")));
}

TEST_F(PrepareCorpusTest, AFileGivenTwiceIsRefused) {
  folder_.Write("a.jsonl", Line("one"));
  options_.inputs = {folder_ / "*.jsonl", folder_ / "./a.jsonl"};
  const absl::Status status = Failure();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("by --input " + folder_ / "*.jsonl"), HasSubstr("and by " + folder_ / "./a.jsonl")));
}

TEST_F(PrepareCorpusTest, AnyNumberOfThreadsGivesTheSame) {
  WriteCorpus();
  ASSERT_TRUE(Prepare(options_).ok());
  const auto first = Outputs();
  EXPECT_GT(first.at("x.pile-cc.bin").size(), 100000u);
  EXPECT_TRUE(first.contains("x.rejects.jsonl"));
  for (const int threads : {1, 2, 3, 4}) {
    options_.threads = threads;
    options_.durable_seconds = threads == 3 ? 0 : 15;
    RemoveOutputs();
    ASSERT_TRUE(Prepare(options_).ok());
    EXPECT_TRUE(Outputs() == first) << threads;
  }
}

TEST_F(PrepareCorpusTest, ManyTinyDocumentsAndOneHugeLine) {
  constexpr int kTiny = 60000;  // three blocks and more; the line is six long
  std::string tiny, huge = "{\"text\": \"";
  for (int i = 0; i < kTiny; ++i) tiny += "{\"text\":\"a\"}\n";
  while (huge.size() < 3 << 19) huge += "the lazy dog jumps over the fox\\n";
  huge += "\"}";
  options_.inputs = {folder_.Write("tiny.jsonl", tiny), folder_.Write("huge.jsonl", huge)};
  const auto info = Prepare(options_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->documents, kTiny + 1);
  const auto file = *TokenFile::Open(options_.out);
  std::vector<int32_t> ids(file->tokens() - *file->DocumentBegin(kTiny));
  ASSERT_TRUE(TokenReader(*file).Read(*file->DocumentBegin(kTiny), absl::MakeSpan(ids)).ok());
  std::string text;
  while (text.size() < huge.size()) text += "the lazy dog jumps over the fox\n";
  EXPECT_TRUE(absl::StartsWith(text, tokenizer_->Decode(ids)));
  EXPECT_EQ(tokenizer_->Encode(tokenizer_->Decode(ids)).size() + 2, ids.size()) << "as in one piece";
}

// SIGKILL at any moment, again and again, until a call comes to its end: the result is that of an undisturbed call.
TEST_F(PrepareCorpusTest, KilledCallsGoOn) {
  WriteCorpus(500);
  options_.threads = 2;
  options_.durable_seconds = 0;
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(Prepare(options_).ok());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto undisturbed = Outputs();
  std::mt19937 random(5);
  int kills = 0, resumed = 0;
  for (int run = 0; run < 6; ++run) {
    RemoveOutputs();
    int attempts = 0;
    for (bool done = false; !done; ++attempts) {
      if (std::filesystem::exists(folder_ / "x.partial/state")) ++resumed;
      const pid_t child = fork();
      if (child == 0) _exit(Prepare(options_).ok() ? 0 : 1);
      // Longer from one to the next, so that each run does end.
      const double wait = seconds * (0.4 + 0.05 * attempts) * static_cast<double>(random() % 1000) / 1000;
      int state = 0;
      for (const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(wait);
           std::chrono::steady_clock::now() < until;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      kill(child, SIGKILL);
      waitpid(child, &state, 0);
      kills += WIFSIGNALED(state);
      done = WIFEXITED(state);
      ASSERT_TRUE(!done || WEXITSTATUS(state) == 0);
    }
    EXPECT_TRUE(Outputs() == undisturbed) << "run " << run;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "x.partial"));
  }
  EXPECT_GE(kills, 10);
  EXPECT_GE(resumed, 5);
}

// A disk that is full after any number of bytes; with room again, the same call finishes.
TEST_F(PrepareCorpusTest, AFullDiskKeepsTheWork) {
  WriteCorpus(500);
  options_.threads = 2;
  options_.durable_seconds = 0;
  ASSERT_TRUE(Prepare(options_).ok());
  const auto undisturbed = Outputs();
  size_t largest = 0;
  for (const auto& [name, bytes] : undisturbed) largest = std::max(largest, bytes.size());
  int kept = 0;
  for (size_t limit = 1000; limit < largest; limit *= 2) {
    RemoveOutputs();
    const int code = InChild([&] {
      testing::LimitFileSize(limit);
      const absl::Status status = Prepare(options_).status();
      const bool told =
          absl::StrContains(status.message(), "free some space") || status.code() == absl::StatusCode::kOk;
      const bool hint = absl::StrContains(status.message(), "the same call goes on");
      const bool stays = std::filesystem::exists(folder_ / "x.partial/state");
      if (status.code() != absl::StatusCode::kResourceExhausted || !told || hint != stays) return 1;
      return stays ? 2 : 3;
    });
    ASSERT_THAT(code, ::testing::AnyOf(2, 3)) << "limit " << limit;
    kept += code == 2;
    EXPECT_TRUE(Outputs().empty()) << "limit " << limit;
    ASSERT_TRUE(Prepare(options_).ok());
    EXPECT_TRUE(Outputs() == undisturbed) << "limit " << limit;
  }
  EXPECT_GE(kept, 3);
}

class ResumeTest : public PrepareCorpusTest {
 protected:
  // Leaves a call unfinished: its second file is damaged.
  ResumeTest() {
    good_ = Gzip(Line("three"));
    options_.inputs = {folder_.Write("a.jsonl", Line("one") + Line("two")),
                       folder_.Write("b.jsonl.gz", good_.substr(0, 9))};
    options_.durable_seconds = 0;
    const absl::Status status = Failure();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(status.message(), HasSubstr("the same call goes on from there"));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "x.partial/state"));
  }
  void ExpectRefused(const std::string& difference) const {
    const absl::Status status = Failure();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << difference;
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr(difference), HasSubstr("--fresh"), ::testing::Not(HasSubstr("goes on"))));
  }
  std::string good_;
};

TEST_F(ResumeTest, OtherCallsAreRefusedAndFreshStartsOver) {
  const PrepareOptions before = options_;
  options_.text_key = "content";
  ExpectRefused("--text-key was \"text\" and is \"content\"");
  options_ = before;
  options_.drop_duplicates = true;
  ExpectRefused("--drop-duplicates was \"not given\"");
  options_ = before;
  options_.inputs.pop_back();
  ExpectRefused("it had 2 inputs, now 1");
  options_ = before;
  std::swap(options_.inputs[0], options_.inputs[1]);
  ExpectRefused("input 1 was");
  options_ = before;
  options_.tokenizer = "";
  options_.train_tokenizer = 300;
  ExpectRefused("the tokenizer was");
  options_ = before;
  folder_.Write("b.jsonl.gz", good_);
  ExpectRefused("b.jsonl.gz has changed since");
  options_.fresh = true;
  ASSERT_TRUE(Prepare(options_).ok());
  EXPECT_THAT(Documents(options_.out), ElementsAre("one", "two", "three"));
}

TEST_F(ResumeTest, NamesAndSeparatorsMayHoldAnyBytes) {
  options_.inputs = {folder_.Write("\xE9\xFF.txt", "one\n\xE9\ntwo\n"),
                     folder_.Write("b.jsonl.gz", good_.substr(0, 9))};
  options_.document_separator = "\xE9";
  options_.on_error = OnError::kReplace;
  options_.fresh = true;
  EXPECT_EQ(Failure().code(), absl::StatusCode::kDataLoss);
  options_.fresh = false;
  const absl::Status again = Failure();
  EXPECT_EQ(again.code(), absl::StatusCode::kDataLoss) << "goes on, to the same damage; not: " << again;
}

// No call can go on from these: the message must not say that one can.
TEST_F(ResumeTest, HintsAreTrue) {
  const auto expect_start_over = [&](const std::string& what) {
    EXPECT_THAT(Failure().message(),
                AllOf(HasSubstr(what), HasSubstr("start over with --fresh"), ::testing::Not(HasSubstr("goes on"))));
  };
  const std::string tokens = folder_.Read("x.partial/tokens.bin.tmp");
  folder_.Write("x.partial/tokens.bin.tmp", "");
  expect_start_over("tokens.bin.tmp holds 0 bytes");
  folder_.Write("x.partial/tokens.bin.tmp", tokens);
  std::filesystem::remove(folder_ / "x.partial/tokenizer");
  EXPECT_EQ(Failure().code(), absl::StatusCode::kDataLoss) << "the tokenizer given is the same";

  options_.split_by_source = options_.fresh = true;
  std::string text;
  for (int i = 0; i < 20000; ++i) text += Line(std::string(200, 'x'), "one");
  for (int i = 0; i < 201; ++i) text += Line("x", absl::StrCat("url", i));
  options_.inputs = {folder_.Write("i.jsonl", text)};
  expect_start_over("more than 200 different sources");
}

TEST_F(ResumeTest, BadLinesMayBeTreatedOtherwiseAsLongAsThereWereNone) {
  options_.on_error = OnError::kSkip;
  EXPECT_EQ(Failure().code(), absl::StatusCode::kDataLoss) << "goes on, to the same damage";
}

TEST_F(ResumeTest, DamagedProgressIsNamed) {
  const std::string state = folder_.Read("x.partial/state");
  folder_.Write("x.partial/state", state.substr(0, state.size() - 8));
  EXPECT_THAT(Failure().message(), AllOf(HasSubstr("x.partial/state"), HasSubstr("--fresh")));
  folder_.Write("x.partial/state", "{}\n");
  EXPECT_THAT(Failure().message(), AllOf(HasSubstr("x.partial/state"), HasSubstr("--fresh")));
  folder_.Write("x.partial/state", state);
  folder_.Write("x.partial/tokens.bin.tmp", "");
  EXPECT_THAT(Failure().message(), HasSubstr("tokens.bin.tmp holds 0 bytes of"));
}

TEST_F(PrepareCorpusTest, ATokenizerIsTrainedOnce) {
  options_.inputs = {folder_ / "train.txt", folder_.Write("b.txt.gz", Gzip("the quick fox"))};
  options_.train_tokenizer = 290;
  options_.tokenizer = folder_ / "new.model";
  const int code = InChild([&] {
    testing::LimitFileSize(10000);  // the model fits, the tokens don't
    return absl::IsResourceExhausted(Prepare(options_).status()) ? 0 : 1;
  });
  ASSERT_EQ(code, 0);
  ASSERT_TRUE(std::filesystem::exists(folder_ / "x.partial/tokenizer"));
  const std::string model = folder_.Read("x.partial/tokenizer");
  ASSERT_TRUE(Prepare(options_).ok());
  EXPECT_EQ(folder_.Read("new.model"), model);
  EXPECT_EQ(folder_.Read("x.tokenizer.model"), model);
}

TEST_F(PrepareCorpusTest, TwoCallsAtOnceAreRefused) {
  std::filesystem::create_directory(folder_ / "x.partial");
  const auto lock = OutputFile::Create(folder_ / "x.partial/lock");
  ASSERT_TRUE(lock.ok());
  options_.inputs = {folder_ / "train.txt"};
  EXPECT_EQ(Failure().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "x.partial/lock.tmp")) << "the other's folder stays";
}

}  // namespace
}  // namespace photon
