// Ids and decoded texts beside those of the library `tokenizers`, with the interpreter in PHOTON_PEERS_PYTHON, else
// python3; skipped where that has none.
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "core/random.h"
#include "data/tokenizer.h"
#include "tests/data/bpe/styles.h"
#include "tests/data/temporary.h"
#include "tests/support/peers_python.h"

namespace photon {
namespace {

using testing::TemporaryFolder;

void AppendCharacter(char32_t c, std::string* text) {
  if (c < 0x80) {
    *text += static_cast<char>(c);
  } else if (c < 0x800) {
    *text += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  } else if (c < 0x10000) {
    *text += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
              static_cast<char>(0x80 | (c & 63))};
  } else {
    *text += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
              static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
  }
}

// From all of Unicode, assigned or not, and more often from where patterns and normalisation have something to decide.
std::vector<std::string> RandomStrings(size_t count) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0, 0x10FFFF},    {0x20, 0x7E},     {0x20, 0x7E},     {0x30, 0x39},     {'a', 'z'},         {0x09, 0x20},
      {0x80, 0x24F},    {0x300, 0x36F},   {0x400, 0x5FF},   {0x900, 0xDFF},   {0x1100, 0x11FF},   {0x1E00, 0x206F},
      {0x180E, 0x180E}, {0x3000, 0x30FF}, {0xA700, 0xA7FF}, {0xAC00, 0xD7A3}, {0x10D40, 0x10D8F}, {0x1F300, 0x1FAFF}};
  const Philox random(2024, 0);
  std::vector<std::string> texts(count);
  uint64_t draw = 0;
  for (std::string& text : texts) {
    const uint32_t length = 1 + random.Block(draw++)[0] % 60;
    while (text.size() < length) {
      const auto bits = random.Block(draw++);
      const auto [first, last] = kRanges[bits[0] % std::size(kRanges)];
      for (uint32_t i = 0; i < 1 + bits[1] % 3; ++i) {
        const char32_t c = first + bits[2 + i % 2] / (i + 1) % (last - first + 1);
        if (c < 0xD800 || c > 0xDFFF) AppendCharacter(c, &text);
      }
    }
  }
  return texts;
}

void AppendInt(size_t value, std::string* bytes) {
  const auto number = static_cast<int32_t>(value);
  bytes->append(reinterpret_cast<const char*>(&number), sizeof number);
}

class ByteLevelBpePeer : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::PeersPythonHas("tokenizers")) {
      GTEST_SKIP() << "no tokenizers in " << testing::PeersPython() << " (pip install tokenizers; PHOTON_PEERS_PYTHON)";
    }
  }

  void ExpectSame(const std::string& path, const std::vector<std::string>& texts) {
    const auto tokenizer = Tokenizer::FromFile(path);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    std::string input;
    for (const std::string& text : texts) {
      AppendInt(text.size(), &input);
      input += text;
    }
    const std::string command = absl::StrCat(testing::PeersPython(), " '", PHOTON_TOKENIZERS_IDS, "' '", path, "' '",
                                             folder_.Write("texts", input), "' '", folder_ / "ids", "'");
    ASSERT_EQ(std::system(command.c_str()), 0);
    const std::string output = *ReadFile(folder_ / "ids", "ids");
    size_t at = 0;
    const auto take = [&](size_t size) {
      EXPECT_LE(at + size, output.size());
      const absl::string_view part = absl::string_view(output).substr(at, size);
      at += size;
      return part;
    };
    const auto take_int = [&] {
      int32_t value = 0;
      std::memcpy(&value, take(sizeof value).data(), sizeof value);
      return static_cast<size_t>(value);
    };
    size_t wrong = 0;
    for (const std::string& text : texts) {
      std::vector<int32_t> ids(take_int());
      std::memcpy(ids.data(), take(ids.size() * sizeof(int32_t)).data(), ids.size() * sizeof(int32_t));
      const absl::string_view decoded = take(take_int());
      const bool same = (*tokenizer)->Encode(text) == ids && (*tokenizer)->Decode(ids) == decoded;
      if (!same && ++wrong <= 5) ADD_FAILURE() << path << ": other ids or text of " << nlohmann::json(text).dump();
    }
    EXPECT_EQ(wrong, 0u) << "of " << texts.size();
    EXPECT_EQ(at, output.size());
  }

  TemporaryFolder folder_;
};

TEST_F(ByteLevelBpePeer, SameIdsInEveryStyle) {
  const std::vector<std::string> texts = RandomStrings(10000), few(texts.begin(), texts.begin() + 1000);
  for (const testing::Style& style : testing::Styles()) {
    ExpectSame(folder_.Write(style.name + ".json", style.tokenizer.dump()), style.name == "llama3" ? texts : few);
  }
}

TEST_F(ByteLevelBpePeer, SameIdsWithGpt2) {
  const std::string path = testing::TestData("tokenizers/gpt2.json");
  if (path.empty()) GTEST_SKIP() << "PHOTON_TEST_DATA is unset";
  std::vector<std::string> texts = RandomStrings(10000);
  for (const char* name : {"tinyshakespeare.txt", "wikitext2-valid.txt", "wikitext2-test.txt"}) {
    texts.push_back(*ReadFile(testing::TestData(absl::StrCat("text/", name)), "text"));
  }
  ExpectSame(path, texts);
}

}  // namespace
}  // namespace photon
