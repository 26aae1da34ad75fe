#include "data/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "data/byte_source.h"
#include "data/json_surrogates.h"
#include "tests/data/packed.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::Gzip;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::Zstd;

struct Document {
  std::string text, source;
  bool operator==(const Document& other) const { return text == other.text && source == other.source; }
};

// The documents, put together from their parts; what is wrong with how they are cut is a failure.
absl::StatusOr<std::vector<std::string>> Texts(const CorpusOptions& options) {
  auto reader = CorpusReader::Create(options);
  if (!reader.ok()) return reader.status();
  std::vector<std::string> texts;
  bool open = false;
  while (true) {
    TextPart part;
    const absl::StatusOr<bool> more = reader->Next(&part);
    if (!more.ok()) return more.status();
    if (!*more) break;
    EXPECT_EQ(part.begins, !open);
    if (part.begins) texts.emplace_back();
    if (!part.begins) {
      EXPECT_TRUE(part.text.empty() || part.text[0] == '\n');
    }
    texts.back() += part.text;
    open = !part.ends;
  }
  EXPECT_FALSE(open);
  return texts;
}

class CorpusTest : public ::testing::Test {
 protected:
  std::vector<std::string> Read(const std::string& name, const std::string& bytes) {
    options_.files = {folder_.Write(name, bytes)};
    const auto texts = Texts(options_);
    EXPECT_TRUE(texts.ok()) << texts.status();
    return texts.value_or(std::vector<std::string>());
  }
  absl::Status Failure(const std::string& name, const std::string& bytes) {
    options_.files = {folder_.Write(name, bytes)};
    return Texts(options_).status();
  }
  TemporaryFolder folder_;
  CorpusOptions options_;
};

TEST_F(CorpusTest, PackedFilesOfSeveralParts) {
  const std::string a = "{\"text\": \"one\"}\n{\"te", b = "xt\": \"two\"}\n", c = "{\"text\": \"three\"}";
  for (const auto& pack : {Gzip, Zstd}) {
    const std::string name = pack == &Gzip ? "x.jsonl.gz" : "x.jsonl.zst";
    EXPECT_THAT(Read(name, pack(a) + pack("") + pack(b) + pack(c)), ElementsAre("one", "two", "three"));
    EXPECT_THAT(Read(name, pack("")), ElementsAre());
    std::string large;
    for (int i = 0; i < 200000; ++i) absl::StrAppend(&large, "{\"text\": \"", i * 7919, "\"}\n");
    EXPECT_EQ(Read(name, pack(large)).size(), 200000u);
  }
  EXPECT_THAT(Read("x.txt.gz", Gzip("plain")), ElementsAre("plain"));
  EXPECT_THAT(Read("x.jsonl.gz", Gzip(a + b) + std::string(512, '\0')), ElementsAre("one", "two")) << "a tape's zeros";
}

TEST_F(CorpusTest, DamagedArchivesAreNamedWithTheOffset) {
  std::string text;
  for (int i = 0; i < 5000; ++i) absl::StrAppend(&text, "{\"text\": \"", i * 7919, "\"}\n");
  for (const auto& pack : {Gzip, Zstd}) {
    const std::string name = pack == &Gzip ? "x.jsonl.gz" : "x.jsonl.zst", whole = pack(text);
    for (const size_t size : {size_t{0}, size_t{1}, size_t{6}, whole.size() / 2, whole.size() - 1}) {
      const absl::Status status = Failure(name, whole.substr(0, size));
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << size << status;
      EXPECT_THAT(status.message(),
                  AllOf(HasSubstr(name), HasSubstr(absl::StrCat("at byte ", size)), HasSubstr("truncated")));
    }
    const absl::Status second = Failure(name, whole + whole.substr(0, 100));
    EXPECT_THAT(second.message(), HasSubstr(absl::StrCat("at byte ", whole.size() + 100))) << "the second part";
    std::string damaged = whole;
    damaged[whole.size() - 3] ^= 1;  // in the checksum
    EXPECT_EQ(Failure(name, damaged).code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(Failure(name, "not packed at all").message(), HasSubstr("damaged archive at byte"));
    EXPECT_EQ(Failure(name, whole + "trailing").code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(CorpusTest, Patterns) {
  for (const char* name : {"b.txt", "a.txt", "A.txt", "c.jsonl", "[d].txt"}) {
    folder_.Write(name, absl::StrCat("{\"text\": \"", name, "\"}"));
  }
  options_.files = {folder_ / "*.jsonl", folder_ / "?.txt"};
  const auto texts = Texts(options_);
  ASSERT_TRUE(texts.ok());
  EXPECT_THAT(*texts, ElementsAre("c.jsonl", HasSubstr("A.txt"), HasSubstr("a.txt"), HasSubstr("b.txt")));
  options_.files = {folder_ / "[d].txt"};
  EXPECT_EQ(Texts(options_)->size(), 1u) << "a file of that very name";
  options_.files = {folder_ / "a.txt", folder_ / "*.zst"};
  EXPECT_TRUE(absl::IsNotFound(Texts(options_).status()));
  EXPECT_THAT(Texts(options_).status().message(), HasSubstr("*.zst: no file matches"));
}

TEST_F(CorpusTest, OddTexts) {
  EXPECT_THAT(Read("x.txt", "\xEF\xBB\xBFtext\r\n"), ElementsAre("text\r"));
  EXPECT_THAT(Read("x.txt",
                   "\xEF\xBB"
                   "\xBF"),
              ElementsAre());
  EXPECT_THAT(Read("x.txt", std::string("a\0b\n\0", 5)), ElementsAre(std::string("a\0b\n\0", 5)));
  EXPECT_THAT(Read("x.jsonl", "\xEF\xBB\xBF{\"text\": \"a\\u0000b\\r\\n\"}\r\n\r\n{\"text\":\"c\"}"),
              ElementsAre(std::string("a\0b\r", 4), "c"));
  EXPECT_THAT(Read("x.txt", "no newline"), ElementsAre("no newline"));
  EXPECT_THAT(Read("x.txt", ""), ElementsAre());
  EXPECT_THAT(Read("x.txt", "\n"), ElementsAre()) << "an empty line is an empty document";
  EXPECT_THAT(Read("x.txt", "\n\n"), ElementsAre("\n"));
}

TEST_F(CorpusTest, KeysOfJson) {
  options_.text_key = "content";
  EXPECT_THAT(Read("x.jsonl", "{\"text\": 1, \"content\": \"yes\"}\n"), ElementsAre("yes"));
  options_.text_key = "text";
  options_.source_key = "a.b.c";
  options_.files = {folder_.Write("y.jsonl",
                                  "{\"text\": \"1\", \"a\": {\"b\": {\"c\": \"deep\"}}}\n"
                                  "{\"text\": \"2\", \"a\": {\"b\": {\"c\": 3}}}\n"
                                  "{\"text\": \"3\", \"a\": {\"b\": \"c\"}}\n"
                                  "{\"text\": \"4\", \"a.b.c\": \"flat\"}\n")};
  auto reader = CorpusReader::Create(options_);
  std::vector<std::string> sources;
  for (TextPart part; *reader->Next(&part);) sources.push_back(part.source);
  EXPECT_THAT(sources, ElementsAre("deep", "", "", ""));
}

TEST_F(CorpusTest, NumbersOfAnyLength) {
  const std::string integer(40, '7');
  EXPECT_THAT(Read("x.jsonl", absl::StrCat("{\"id\": ", integer, ", \"text\": \"one \\u00e9 \\\"\", \"n\": [-", integer,
                                           "]}\n", "{\"text\": \"two\", \"id\": 18446744073709551616}\n",
                                           "{\"text\": \"", integer, "\"}\n")),
              ElementsAre("one é \"", "two", integer));
  EXPECT_THAT(std::string(Failure("x.jsonl", absl::StrCat("{\"id\": ", integer, ", \"text\": \"one\"")).message()),
              HasSubstr("not valid JSON"));
  EXPECT_THAT(std::string(Failure("x.jsonl", absl::StrCat("{\"text\": ", integer, "}")).message()),
              HasSubstr("with a string \"text\""));
  options_.on_error = OnError::kReplace;
  EXPECT_THAT(Read("x.jsonl", absl::StrCat("{\"id\": ", integer, ", \"text\": \"half \\ud83d\"}\n")),
              ElementsAre("half \uFFFD"));
  // Beyond the depth that simdjson refuses.
  EXPECT_THAT(Read("x.jsonl", absl::StrCat("{\"text\": \"deep\", \"id\": ", integer,
                                           ", \"d\": ", std::string(200000, '['), std::string(200000, ']'), "}")),
              ElementsAre("deep"));
}

// Every kind of bad line; what is left of a file under each policy.
TEST_F(CorpusTest, BadLines) {
  const std::string good = "{\"text\": \"good\"}\n";
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"{\"text\": \"b\"", "not valid JSON"},
      {"{\"text\": \"raw \x01\"}", "not valid JSON"},
      {std::string("{\"text\": \"raw \0\"}", 16), "not valid JSON"},
      {"{\"text\": \"b\"} more", "not valid JSON"},
      {"[1]", "not an object with a string \"text\""},
      {"\"text\"", "not an object with a string \"text\""},
      {"{\"text\": null}", "not an object with a string \"text\""},
      {"{\"meta\": {\"text\": \"b\"}}", "not an object with a string \"text\""},
      {"{\"text\": \"\xFF\"}", "byte 11 is not UTF-8"},
      {"{\"text\": \"\xED\xA0\x80\"}", "byte 11 is not UTF-8"},  // a surrogate in UTF-8
      {"{\"text\": \"half \\ud83d.\"}", "not valid JSON"},
      {"{\"text\": \"half \\udc00.\"}", "not valid JSON"},
  };
  for (const auto& [line, problem] : bad) {
    options_.on_error = OnError::kFail;
    const absl::Status status = Failure("x.jsonl", absl::StrCat(good, line, "\n", good));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("x.jsonl, line 2: "), HasSubstr(problem))) << line;
    options_.on_error = OnError::kSkip;
    EXPECT_THAT(Read("x.jsonl", absl::StrCat(good, line, "\n", good)), ElementsAre("good", "good")) << line;
  }
  options_.on_error = OnError::kReplace;
  EXPECT_THAT(Read("x.jsonl",
                   "{\"text\": \"a\xFF"
                   "b\"}\n{\"text\": \"half \\ud83d. \\ud83d\\ude00 \\\\ud83d\"}\n{]\n"),
              ElementsAre("a\uFFFDb", "half \uFFFD. \U0001F600 \\ud83d"));
  EXPECT_THAT(Read("x.txt", "a\nna\xEFve\nb"), ElementsAre("a\nna\uFFFDve\nb"));
  options_.on_error = OnError::kSkip;
  EXPECT_THAT(Read("x.txt", "a\nna\xEFve\nb"), ElementsAre("a\n\nb"));
}

TEST_F(CorpusTest, TheParserTellsLinesAndExcerpts) {
  CorpusOptions options;
  options.on_error = OnError::kReplace;
  BlockReader reader(
      *FindInputFiles({folder_.Write("x.jsonl", "\n{]\n{\"text\": \"\xC3\"}\n" + std::string(500, '['))}),
      BlockOptionsOf(options));
  BlockParser parser(options);
  std::vector<TextPart> parts;
  std::vector<BadLine> bad;
  for (TextBlock block; *reader.Next(&block);) ASSERT_TRUE(parser.Parse(block, "x.jsonl", &parts, &bad).ok());
  ASSERT_EQ(bad.size(), 3u);
  EXPECT_THAT((std::vector<int64_t>{bad[0].line, bad[1].line, bad[2].line}), ElementsAre(2, 3, 4));
  EXPECT_FALSE(bad[0].replaced);
  EXPECT_TRUE(bad[1].replaced);
  EXPECT_EQ(bad[2].excerpt, std::string(160, '[') + "..");
}

TEST(JsonSurrogates, OnlyHalvesAreReplaced) {
  EXPECT_EQ(ReplaceHalfSurrogatePairs("\\ud83d\\ude00\\ud83d\\uD83D\\ude00\\udE00x\\u00e9\\\\ud83d\\n\\ud8"),
            "\\ud83d\\ude00\\ufffd\\uD83D\\ude00\\ufffdx\\u00e9\\\\ud83d\\n\\ud8");
  EXPECT_EQ(ReplaceHalfSurrogatePairs("\\ud83d"), "\\ufffd");
  EXPECT_EQ(ReplaceHalfSurrogatePairs("\\"), "\\");
}

// What the format says, written down once more.
std::vector<std::string> Reference(const std::string& text, const std::string& separator) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  if (lines.back().empty()) lines.pop_back();
  lines.push_back("<end>");
  std::vector<std::string> documents, now;
  for (size_t i = 0; i < lines.size(); ++i) {
    const bool blank = lines[i].find_first_not_of(" \r") == std::string::npos;
    if (i + 1 == lines.size() || (separator == kBlankLine ? blank : !separator.empty() && lines[i] == separator)) {
      if (const std::string document = absl::StrJoin(now, "\n"); !document.empty()) documents.push_back(document);
      now.clear();
    } else {
      now.push_back(lines[i]);
    }
  }
  return documents;
}

// Blocks of a few bytes: every place where a file may be cut is tried, whole documents and parts, and every place where
// a reader may go on.
TEST_F(CorpusTest, CutsChangeNothing) {
  std::mt19937 random(1);
  const std::vector<std::string> lines = {"", "", "a", " ", "%", "%", "text of a few words", "\r", "\xC3\xA9"};
  for (int round = 0; round < 60; ++round) {
    std::string text;
    const int count = static_cast<int>(random() % 30);
    for (int i = 0; i < count; ++i) text += lines[random() % lines.size()] + "\n";
    if (round % 3 == 0) text += "end";
    for (const std::string separator : {"", "%", kBlankLine}) {
      options_.separator = separator;
      for (const int64_t part_bytes : {0, 3, 7, 20}) {
        options_.part_bytes = part_bytes;
        EXPECT_EQ(Read("x.txt", text), Reference(text, separator))
            << "part_bytes " << part_bytes << ", separator " << separator << ", text:\n"
            << text;
      }
    }
  }
}

TEST_F(CorpusTest, ReadersGoOnAtTheEndOfAnyBlock) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += i % 7 == 0 ? "%\n" : i % 5 == 0 ? "\n" : absl::StrCat("line ", i, "\n");
  const auto files =
      *FindInputFiles({folder_.Write("a.txt", "\xEF\xBB\xBF" + text), folder_.Write("b.txt.gz", Gzip(text)),
                       folder_.Write("c.txt.zst", Zstd(text) + Zstd(text)), folder_.Write("d.txt", "")});
  const BlockOptions options{.separator = "%", .block_bytes = 30};
  const auto blocks_from = [&](const BlockPosition& begin) {
    BlockReader reader(files, options, begin);
    std::vector<std::string> blocks;
    for (TextBlock block; *reader.Next(&block);) {
      blocks.push_back(absl::StrCat(block.begin.file, " ", block.begin.offset, " ", block.begin.lines, " ",
                                    block.begin.continues, block.ends_document, " ", block.text()));
    }
    return blocks;
  };
  const std::vector<std::string> all = blocks_from({});
  ASSERT_GT(all.size(), 40u);
  BlockReader reader(files, options);
  size_t count = 0;
  for (TextBlock block; *reader.Next(&block);) {
    ++count;
    EXPECT_EQ(blocks_from(block.end), std::vector<std::string>(all.begin() + count, all.end()));
  }
}

TEST_F(CorpusTest, WhatIsTooLongIsRefused) {
  const auto files = *FindInputFiles({folder_.Write("x.txt", "short\n" + std::string(5000, 'x') + "\nshort\n")});
  TextBlock block;
  BlockReader lines(files, {.separator = "", .block_bytes = 100, .longest = 1000});
  EXPECT_TRUE(*lines.Next(&block));
  EXPECT_THAT(lines.Next(&block).status().message(), HasSubstr("x.txt, line 2: a line of more than 1.0 kB"));
  BlockReader documents(files, {.separator = "%", .cut_documents = false, .block_bytes = 100, .longest = 1000});
  EXPECT_THAT(documents.Next(&block).status().message(), HasSubstr("--document-separator"));
  const auto never = [](absl::string_view, size_t) { return false; };
  BlockReader uncut(files, {.separator = "", .cut_allowed = never, .block_bytes = 100, .longest = 1000});
  EXPECT_THAT(
      uncut.Next(&block).status().message(),
      AllOf(HasSubstr("line 1: text that this tokenizer cannot read in parts"), HasSubstr("--document-separator")));
  BlockReader enough(files, {.separator = "", .block_bytes = 100, .longest = 10000});
  EXPECT_TRUE(*enough.Next(&block));
}

TEST_F(CorpusTest, AFileThatChangesMeanwhileIsNoticed) {
  const std::string path = folder_.Write("x.jsonl", "{\"text\": \"a\"}\n");
  BlockReader reader(*FindInputFiles({path}), BlockOptions());
  folder_.Write("x.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
  TextBlock block;
  absl::StatusOr<bool> more = true;
  while (more.ok() && *more) more = reader.Next(&block);
  EXPECT_EQ(more.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(more.status().message(), AllOf(HasSubstr("x.jsonl changed"), HasSubstr("--fresh")));
}

}  // namespace
}  // namespace photon
