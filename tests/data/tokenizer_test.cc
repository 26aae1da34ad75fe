#include "data/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/random.h"
#include "data/sentencepiece/api.h"
#include "data/train_tokenizer.h"
#include "data/utf8.h"
#include "tests/data/temporary.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

// Prose with digits, runs of spaces and characters that are rare enough to become bytes.
std::string Prose() {
  std::string text;
  const char* words[] = {"the", "whale", "swam", "under", "a",         "pale",   "moon",
                         "and", "sang",  "1851", "of",    "Nantucket", "harbour"};
  const Philox random(11, 0);
  for (int i = 0; i < 20000; ++i) {
    text += words[random.Block(i)[0] % 13];
    text += i % 17 == 0 ? ".\n" : i % 29 == 0 ? ",  " : " ";
  }
  return text;
}

std::string TrainOn(const std::string& text, int64_t pieces) {
  TemporaryFolder folder;
  auto model = TrainTokenizer({.files = {folder.Write("t.txt", text)}, .separator = "", .part_bytes = 0}, pieces);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : "";
}

const Tokenizer& Small() {
  static const std::shared_ptr<const Tokenizer> tokenizer = *Tokenizer::FromBytes(TrainOn(Prose(), 320), "small");
  return *tokenizer;
}

const char* const kTexts[] = {"",
                              " ",
                              "   ",
                              "\n",
                              "\n\n\n",
                              "hello",
                              " hello",
                              "  two  spaces  ",
                              "tab\tand\nline\n",
                              "naïve café",
                              "日本語のテキスト",
                              "mixed 😀 emoji 👩‍👩‍👧 end",
                              "привет, мир",
                              "1851 and 007",
                              "a\r\nb",
                              "e\xCC\x81 combining",
                              "\xE2\x96\x81 is U+2581"};

std::string Streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  TextStream stream(&tokenizer);
  std::string text;
  for (int32_t id : ids) {
    const std::string piece = stream.Push(id);
    EXPECT_EQ(FirstInvalidUtf8(piece), piece.size()) << "half a character";
    text += piece;
  }
  return text + stream.Finish();
}

void Append(void* user, const char* data, size_t size) { static_cast<std::string*>(user)->append(data, size); }

// What SentencePiece itself makes of ids.
class Library {
 public:
  explicit Library(const Tokenizer& tokenizer) {
    const char* error = nullptr;
    api_ = LoadSentencePiece(&error);
    std::string message;
    model_ = api_->load(tokenizer.bytes().data(), tokenizer.bytes().size(), Append, &message);
  }
  ~Library() { api_->destroy(model_); }
  Library(const Library&) = delete;
  std::string Decode(const std::vector<int32_t>& ids) const {
    std::string text;
    EXPECT_TRUE(api_->decode(model_, ids.data(), ids.size(), Append, &text));
    return text;
  }

 private:
  const SentencePieceApi* api_;
  void* model_;
};

void ExpectRoundTrips(const Tokenizer& tokenizer) {
  for (const std::string text : kTexts) {
    if (text == "\xE2\x96\x81 is U+2581") continue;  // SentencePiece reads its own space as a space
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text);
  }
}

void ExpectStreamsLikeTheLibrary(const Tokenizer& tokenizer) {
  const Library library(tokenizer);
  for (const std::string text : kTexts) {
    EXPECT_EQ(Streamed(tokenizer, tokenizer.Encode(text)), library.Decode(tokenizer.Encode(text))) << text;
  }
  const Philox random(5, 0);
  for (int round = 0; round < 200; ++round) {  // arbitrary ids: half characters, control pieces, bytes in any order
    std::vector<int32_t> ids(1 + round % 23);
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto bits = random.Block(round * 64 + i);
      ids[i] = static_cast<int32_t>(bits[0] % (bits[1] % 2 ? 259 : tokenizer.vocab_size()));  // bytes are 3..258
    }
    EXPECT_EQ(Streamed(tokenizer, ids), library.Decode(ids)) << ::testing::PrintToString(ids);
    EXPECT_EQ(tokenizer.Decode(ids), Streamed(tokenizer, ids));
  }
}

TEST(Tokenizer, RoundTripsAnyText) { ExpectRoundTrips(Small()); }

TEST(Tokenizer, StreamsWhatTheLibraryDecodes) { ExpectStreamsLikeTheLibrary(Small()); }

TEST(Tokenizer, StreamsWholeCharactersAsSoonAsTheyAreThere) {
  const std::vector<int32_t> ids = Small().Encode("😀");
  ASSERT_GE(ids.size(), 4u) << "unseen in training: four bytes";
  TextStream stream(&Small());
  std::string before;
  for (size_t i = 0; i + 1 < ids.size(); ++i) before += stream.Push(ids[i]);
  EXPECT_EQ(before, "");
  EXPECT_EQ(stream.Push(ids.back()), "😀");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(Tokenizer, AnUnfinishedCharacterIsShownAtTheEnd) {
  std::vector<int32_t> ids = Small().Encode("x😀");
  ids.pop_back();
  EXPECT_EQ(Streamed(Small(), ids), std::string("x") + kUtf8Replacement + kUtf8Replacement + kUtf8Replacement);
}

TEST(Tokenizer, StreamContinuesAPromptWithItsSpaces) {
  const std::string text = "the whale swam under the moon";
  const std::vector<int32_t> ids = Small().Encode(text);
  for (size_t cut = 1; cut < ids.size(); ++cut) {
    TextStream stream(&Small());
    std::string prompt, rest;
    for (size_t i = 0; i < ids.size(); ++i) (i < cut ? prompt : rest) += stream.Push(ids[i]);
    EXPECT_EQ(prompt + rest, text) << cut;
  }
}

TEST(Tokenizer, BytesOfPiecesMakeTheText) {
  for (const std::string text : {"the whale, 1851", "caf\u00e9 \U0001F433\n"}) {
    std::string bytes;
    for (const int32_t id : Small().Encode(text)) absl::StrAppend(&bytes, Small().Bytes(id));
    EXPECT_EQ(bytes, " " + text);  // where a text begins, the first space is no part of it
  }
  EXPECT_EQ(Small().Bytes(Small().eos()), "");
  EXPECT_EQ(Small().Bytes(-1), "");
  EXPECT_EQ(Small().Bytes(100000), "");
}

TEST(Tokenizer, EncodesInPartsAsInOne) {
  ASSERT_TRUE(Small().splits_at_newlines());
  const std::string a = Prose().substr(0, 3000);
  for (const std::string b : {"\n", "\n\n", "\nnext line", "\n  indented 1851", "\n\xF0\x9F\x98\x80"}) {
    std::vector<int32_t> parts = Small().Encode(a);
    const std::vector<int32_t> rest = Small().EncodeRest(b);
    parts.insert(parts.end(), rest.begin(), rest.end());
    EXPECT_EQ(parts, Small().Encode(a + b));
  }
}

TEST(Tokenizer, HasLlamasConventions) {
  EXPECT_EQ(Small().bos(), 1);
  EXPECT_EQ(Small().eos(), 2);
  EXPECT_EQ(Small().vocab_size(), 320);
  EXPECT_EQ(Small().Decode({1, 2, -1, 320, 100000}), "") << "nothing to show";
}

TEST(Tokenizer, IsItsBytes) {
  const auto copy = Tokenizer::FromBytes(Small().bytes(), "copy");
  ASSERT_TRUE(copy.ok());
  EXPECT_EQ((*copy)->hash(), Small().hash());
  EXPECT_EQ((*copy)->hash().size(), 32u);
  EXPECT_EQ((*copy)->Encode("the whale"), Small().Encode("the whale"));
}

TEST(Tokenizer, ServesSeveralThreads) {
  const std::string text = Prose();
  const std::vector<int32_t> want = Small().Encode(text);
  std::vector<std::vector<int32_t>> got(4);
  std::vector<std::thread> threads;
  for (auto& ids : got) threads.emplace_back([&ids, &text] { ids = Small().Encode(text); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& ids : got) EXPECT_EQ(ids, want);
}

TEST(Tokenizer, RefusesWhatIsNoModel) {
  TemporaryFolder folder;
  EXPECT_THAT(Tokenizer::FromFile(folder / "none.model").status().message(), HasSubstr("none.model"));
  EXPECT_TRUE(absl::IsNotFound(Tokenizer::FromFile(folder / "none.model").status()));
  for (const std::string bytes : {"", "not a model", "\xff\xff\xff\xff"}) {
    const auto status = Tokenizer::FromFile(folder.Write("bad.model", bytes)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bytes;
    EXPECT_THAT(status.message(), HasSubstr("bad.model"));
  }
}

TEST(TrainTokenizer, GivesTheSameBytesEveryTime) { EXPECT_EQ(TrainOn(Prose(), 300), TrainOn(Prose(), 300)); }

TEST(TrainTokenizer, SplitsDigits) { EXPECT_EQ(Small().Encode("1851").size(), Small().Encode("1").size() + 3); }

TEST(TrainTokenizer, RefusesWhatTheTextCannotGive) {
  TemporaryFolder folder;
  const auto status = [&](const std::string& text, int64_t pieces) {
    return TrainTokenizer({.files = {folder.Write("t.txt", text)}, .separator = "", .part_bytes = 0}, pieces).status();
  };
  EXPECT_THAT(status(Prose(), 100).message(), HasSubstr("--train-tokenizer 100"));
  EXPECT_THAT(status(Prose(), 265).message(), HasSubstr("too few pieces"));
  EXPECT_THAT(status(Prose(), 50000).message(), HasSubstr("choose fewer"));
  EXPECT_EQ(status("", 300).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status("good\nbad \xff\n", 300).message(), HasSubstr("line 2"));
}

TEST(TrainTokenizer, TakesLinesLongerThanASentence) {
  std::string text = Prose();
  std::replace(text.begin(), text.end(), '\n', ' ');
  const auto tokenizer = Tokenizer::FromBytes(TrainOn(text, 320), "long lines");
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_LE((*tokenizer)->Encode("the whale").size(), 4u) << "words became pieces";
}

TEST(Tokenizer, Llama2RoundTripsTinyshakespeare) {
  const std::string model = testing::TestData("tokenizers/llama2.model");
  if (model.empty()) GTEST_SKIP() << "PHOTON_TEST_DATA is unset";
  const auto tokenizer = Tokenizer::FromFile(model);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 32000);
  EXPECT_EQ((*tokenizer)->bos(), 1);
  EXPECT_EQ((*tokenizer)->eos(), 2);
  // As every description of Llama's tokenizer shows it.
  EXPECT_EQ((*tokenizer)->Encode("Hello world"), (std::vector<int32_t>{15043, 3186}));
  const std::string text = *ReadFile(testing::TestData("text/tinyshakespeare.txt"), "text");
  const std::vector<int32_t> ids = (*tokenizer)->Encode(text);
  EXPECT_TRUE((*tokenizer)->Decode(ids) == text);
  // In parts, as `prepare` encodes it.
  ASSERT_TRUE((*tokenizer)->splits_at_newlines());
  const size_t cut = text.find('\n', text.size() / 2);
  std::vector<int32_t> parts = (*tokenizer)->Encode(absl::string_view(text).substr(0, cut));
  const std::vector<int32_t> rest = (*tokenizer)->EncodeRest(absl::string_view(text).substr(cut));
  parts.insert(parts.end(), rest.begin(), rest.end());
  EXPECT_TRUE(parts == ids);
  ExpectRoundTrips(**tokenizer);
  ExpectStreamsLikeTheLibrary(**tokenizer);
}

TEST(Utf8, AcceptsCharactersAndNothingElse) {
  for (absl::string_view good :
       {"a", "\xC2\x80", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(Utf8Length(good), static_cast<int>(good.size()));
    for (size_t cut = 1; cut < good.size(); ++cut) EXPECT_EQ(Utf8Length(good.substr(0, cut)), kUtf8Incomplete);
  }
  for (absl::string_view bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                                "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
                                "\xE2"
                                "a"}) {
    EXPECT_EQ(Utf8Length(bad), kUtf8Invalid);
  }
  EXPECT_EQ(FirstInvalidUtf8("0123456789\xC3\xA9 0123456789\xFF"), 23u);
  EXPECT_EQ(FirstInvalidUtf8("abc\xE2\x82"), 3u);
}

}  // namespace
}  // namespace photon
