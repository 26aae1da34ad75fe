#include "data/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "data/open.h"
#include "data/token_reader.h"
#include "data/tokenizer.h"
#include "data/unigram.h"
#include "tests/data/temporary.h"

namespace photon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

class PrepareTest : public ::testing::Test {
 protected:
  PrepareTest() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += "the quick brown fox jumps over the lazy dog and runs home\n";
    options_.inputs = {folder_.Write("train.txt", text)};
    options_.train_tokenizer = 300;
    options_.tokenizer = folder_ / "t.model";
    options_.out = folder_ / "first";
    options_.progress = false;
    const auto info = Prepare(options_);
    EXPECT_TRUE(info.ok()) << info.status();
    options_.train_tokenizer = 0;
    options_.out = folder_ / "x";
    options_.fresh = true;  // many a test prepares several texts under one name
    tokenizer_ = *Tokenizer::FromFile(options_.tokenizer);
  }

  // The texts of the documents of `prefix`, having checked that each is begin-of-text, text, end-of-text.
  std::vector<std::string> Documents(const std::string& prefix) {
    const auto file = TokenFile::Open(prefix);
    EXPECT_TRUE(file.ok()) << file.status();
    std::vector<std::string> texts;
    for (int64_t d = 0; d < (*file)->documents(); ++d) {
      const int64_t begin = *(*file)->DocumentBegin(d);
      std::vector<int32_t> ids(*(*file)->DocumentBegin(d + 1) - begin);
      EXPECT_TRUE(TokenReader(**file).Read(begin, absl::MakeSpan(ids)).ok());
      EXPECT_EQ(ids.front(), tokenizer_->bos());
      EXPECT_EQ(ids.back(), tokenizer_->eos());
      texts.push_back(tokenizer_->Decode(ids));
      EXPECT_EQ(tokenizer_->Encode(texts.back()).size(), ids.size() - 2);
    }
    return texts;
  }

  std::vector<std::string> PrepareText(const std::string& text, const std::string& separator = "") {
    options_.inputs = {folder_.Write("in.txt", text)};
    options_.document_separator = separator;
    const auto info = Prepare(options_);
    EXPECT_TRUE(info.ok()) << info.status();
    return Documents(options_.out);
  }

  absl::Status Failure(const std::string& name, const std::string& text) {
    options_.inputs = {folder_.Write(name, text)};
    const absl::Status status = Prepare(options_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    for (const std::string& file : folder_.Names()) EXPECT_NE(file.substr(0, 2), "x.") << "left behind: " << file;
    return status;
  }

  TemporaryFolder folder_;
  PrepareOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(PrepareTest, AFileIsADocument) {
  const std::string a = folder_.Write("a.txt", "the fox\n\nnaïve 日本\n"),
                    b = folder_.Write("b.txt", "\xEF\xBB\xBFhome");
  options_.inputs = {a, folder_.Write("empty.txt", ""), b};
  ASSERT_TRUE(Prepare(options_).ok());
  EXPECT_THAT(Documents(options_.out), ElementsAre("the fox\n\nnaïve 日本", "home"));
}

TEST_F(PrepareTest, SeparatorsOfPlainText) {
  EXPECT_THAT(PrepareText("\n\none\ntwo\n\n \t\nthree\n\n", "blank-line"), ElementsAre("one\ntwo", "three"));
  EXPECT_THAT(PrepareText("one\n\ntwo\n%\n%\nthree%\n", "%"), ElementsAre("one\n\ntwo", "three%"));
  EXPECT_THAT(PrepareText("one\r\n<|end|>\r\ntwo", "<|end|>"), ElementsAre("one\r", "two"));
  EXPECT_THAT(PrepareText("one\n\f\ntwo", "\f"), ElementsAre("one", "two"));
}

TEST_F(PrepareTest, JsonLinesWithPileNames) {
  options_.inputs = {
      folder_.Write("p.jsonl",
                    "{\"text\": \"the fox\\n\\nruns\\n\\n\", \"meta\": {\"pile_set_name\": \"Books3\"}}\n"
                    "\n"
                    "{\"text\": \"caf\\u00e9 \\ud83d\\ude00\", \"meta\": {\"pile_set_name\": \"ArXiv\"}}\r\n"
                    "{\"text\": \"\", \"meta\": {}}\n"
                    "{\"text\": \"dog\", \"meta\": {\"pile_set_name\": \"ArXiv\"}}")};
  const auto info = Prepare(options_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_THAT(Documents(options_.out), ElementsAre("the fox\n\nruns\n", "café 😀", "dog"));
  EXPECT_EQ(info->sources.size(), 2u);
  EXPECT_EQ(info->sources.at("ArXiv").documents, 2);
  EXPECT_EQ(info->sources.at("ArXiv").tokens + info->sources.at("Books3").tokens, info->tokens);
}

TEST_F(PrepareTest, LongDocumentsInPartsGiveTheSameTokensOnAnyNumberOfThreads) {
  std::string text;
  for (int i = 0; text.size() < 1200000; ++i) text += i % 7 ? "the lazy dog " : i % 3 ? "jumps\n" : "\n\n  home";
  text += "end";
  options_.inputs = {folder_.Write("long.txt", text), folder_.Write("short.txt", "fox")};
  std::vector<std::string> written;
  for (int threads : {1, 2, 5}) {
    options_.threads = threads;
    ASSERT_TRUE(Prepare(options_).ok());
    written.push_back(folder_.Read("x.bin") + folder_.Read("x.idx") + folder_.Read("x.json"));
  }
  EXPECT_TRUE(written[0] == written[1] && written[1] == written[2]);
  const auto texts = Documents(options_.out);  // compares with encoding in one piece
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_TRUE(texts[0] == text);
}

TEST_F(PrepareTest, WritesWhatTrainingNeedsToKnow) {
  const auto info = Prepare(options_);
  ASSERT_TRUE(info.ok());
  const auto read = TokenFileInfo::Read(options_.out);
  ASSERT_TRUE(read.ok() && read->has_value()) << read.status();
  EXPECT_EQ((*read)->ToJson(), info->ToJson());
  EXPECT_EQ(info->tokenizer_hash, tokenizer_->hash());
  EXPECT_EQ(info->vocab_size, 300);
  EXPECT_EQ(info->documents, 1);
  EXPECT_EQ(info->text_bytes, 400 * 58 - 1);
  EXPECT_EQ(folder_.Read("x.tokenizer.model"), tokenizer_->bytes());
  const auto file = *TokenFile::Open(options_.out);
  std::vector<int32_t> ids(file->tokens());
  ASSERT_TRUE(TokenReader(*file).Read(0, absl::MakeSpan(ids)).ok());
  UnigramCounts counts;
  counts.Add(absl::MakeSpan(ids).subspan(1));  // all but the begin-of-text
  EXPECT_NEAR(info->unigram_entropy, counts.Entropy(), 1e-12);
  EXPECT_EQ(info->max_id, *std::max_element(ids.begin(), ids.end()));
}

TEST_F(PrepareTest, BadInputNamesFileAndLine) {
  EXPECT_THAT(Failure("bad.txt", "fine\nfine\nna\xEFve\n").message(),
              HasSubstr("bad.txt, line 3: byte 3 is not UTF-8"));
  EXPECT_THAT(Failure("bad.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"\n").message(),
              HasSubstr("bad.jsonl, line 2: not valid JSON"));
  EXPECT_THAT(Failure("bad.jsonl", "{\"txt\": \"a\"}\n").message(), HasSubstr("line 1: not an object with a string"));
  EXPECT_THAT(Failure("bad.jsonl", "{\"text\": 5}\n").message(), HasSubstr("line 1"));
  EXPECT_THAT(Failure("bad.jsonl", "[1]\n").message(), HasSubstr("line 1"));
  EXPECT_THAT(Failure("bad.jsonl", "{\"text\": \"\\ud800\"}\n").message(), HasSubstr("line 1"));
  EXPECT_THAT(Failure("empty.txt", "").message(), HasSubstr("empty.txt is empty"));
  EXPECT_THAT(Failure("empty.jsonl", "\n{\"text\": \"\"}\n").message(), HasSubstr("holds no text"));
}

TEST_F(PrepareTest, MissingThingsAreNamed) {
  options_.inputs.push_back(folder_ / "none.txt");
  EXPECT_TRUE(absl::IsNotFound(Prepare(options_).status()));
  EXPECT_THAT(Prepare(options_).status().message(), HasSubstr("none.txt"));
  options_.inputs = {folder_ / ""};
  EXPECT_THAT(Prepare(options_).status().message(), HasSubstr("is a folder"));
  options_.inputs = {};
  EXPECT_THAT(Prepare(options_).status().message(), HasSubstr("--input"));
  options_.inputs = {folder_ / "train.txt"};
  options_.tokenizer = "";
  EXPECT_THAT(Prepare(options_).status().message(), HasSubstr("--tokenizer"));
  options_.tokenizer = folder_ / "t.model";
  options_.out = folder_ / "no/such/folder/x";
  EXPECT_TRUE(absl::IsNotFound(Prepare(options_).status()));
}

TEST_F(PrepareTest, AnExistingTokenizerIsNotTrainedOver) {
  options_.train_tokenizer = 300;
  const std::string before = folder_.Read("t.model");
  EXPECT_EQ(Prepare(options_).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(folder_.Read("t.model"), before);
}

TEST_F(PrepareTest, AFailureLeavesTheOlderFileWhole) {
  ASSERT_TRUE(Prepare(options_).ok());
  const std::string before = folder_.Read("x.bin") + folder_.Read("x.idx");
  options_.inputs = {folder_.Write("bad.txt", "fine\n\xFF\n")};
  ASSERT_FALSE(Prepare(options_).ok());
  EXPECT_EQ(folder_.Read("x.bin") + folder_.Read("x.idx"), before);
  EXPECT_TRUE(TokenFile::Open(options_.out).ok());
}

class OpenDataTest : public PrepareTest {
 protected:
  OpenDataTest() {
    std::string text;
    for (int i = 0; i < 50; ++i) text += "the quick brown fox\n\n";
    PrepareText(text, "blank-line");
    config_.set_train(options_.out);
    config_.set_sequence_length(32);
  }
  DataConfig config_;
};

TEST_F(OpenDataTest, OpensWhatPrepareWrote) {
  const auto data = OpenData(config_, 300, 16);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->tokenizer->hash(), tokenizer_->hash());
  EXPECT_EQ(data->train->options().align, 16);
  EXPECT_EQ(data->train->options().padding, tokenizer_->eos());
  const auto file = TokenFile::Open(options_.out);
  EXPECT_EQ(data->train->sources()[0].dataset->tokens() + data->valid.at(0).dataset->tokens(), (*file)->tokens());
  EXPECT_EQ(data->valid.at(0).dataset->tokens(), (*file)->tokens() / 50) << "2 % of 50 equal documents";
  EXPECT_TRUE(data->valid.at(0).dataset->Samples(0, 1).ok());
}

TEST_F(OpenDataTest, PadsWithEndOfTextWithOrWithoutTheTokenizer) {
  const int32_t eos = (*OpenData(config_, 300, 16)).tokenizer->eos();
  ASSERT_GT(eos, 0);
  EXPECT_EQ((*OpenData(config_, 300, 16)).train->options().padding, eos);
  std::filesystem::remove(config_.train() + ".tokenizer.model");
  EXPECT_EQ((*OpenData(config_, 300, 16)).train->options().padding, eos) << "as PREFIX.json says";
  std::filesystem::remove(config_.train() + ".json");
  EXPECT_EQ((*OpenData(config_, 300, 16)).train->options().padding, 0) << "nobody knows";
}

TEST_F(OpenDataTest, AValidationFileOfItsOwn) {
  config_.set_valid(folder_ / "first");
  const auto data = OpenData(config_, 300, 16);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train->sources()[0].dataset->tokens(), (*TokenFile::Open(options_.out))->tokens());
  EXPECT_EQ(data->valid.at(0).dataset->tokens(), (*TokenFile::Open(folder_ / "first"))->tokens());
}

TEST_F(OpenDataTest, MismatchesAreRefused) {
  EXPECT_THAT(OpenData(config_, 299, 16).status().message(), HasSubstr("model.vocab_size is 299"));
  EXPECT_THAT(OpenData(config_, 300, 7).status().message(), HasSubstr("data.align 7"));
  EXPECT_THAT(OpenData(DataConfig(), 300, 16).status().message(), HasSubstr("data.train"));
  PrepareOptions other = options_;
  other.inputs = {folder_ / "train.txt"};
  other.train_tokenizer = 295;
  other.tokenizer = folder_ / "other.model";
  other.out = folder_ / "other";
  ASSERT_TRUE(Prepare(other).ok());
  config_.set_tokenizer(other.tokenizer);
  EXPECT_THAT(OpenData(config_, 300, 16).status().message(), HasSubstr("prepared with another tokenizer"));
  config_.clear_tokenizer();
  config_.set_valid(other.out);
  EXPECT_THAT(OpenData(config_, 300, 16).status().message(), HasSubstr("other was prepared with another tokenizer"));
}

TEST_F(OpenDataTest, FilesOfOtherToolsNeedNoJson) {
  testing::WriteDocuments(folder_ / "megatron", {{5, 6, 7}, {8, 9}, {1, 2}});
  config_.set_train(folder_ / "megatron");
  const auto data = OpenData(config_, 300, 16);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->tokenizer, nullptr);
  EXPECT_THAT(data->train->sources()[0].dataset->Samples(0, 1)->tokens, ::testing::Contains(8));
}

TEST_F(OpenDataTest, ABrokenJsonIsNamed) {
  folder_.Write("x.json", "{\"tokens\": ");
  EXPECT_THAT(OpenData(config_, 300, 16).status().message(), HasSubstr("x.json"));
}

}  // namespace
}  // namespace photon
