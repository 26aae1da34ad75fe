// Byte-level BPE. tests/data/bpe/styles.json holds a small tokenizer in the styles in use, with ids and decoded texts
// that the library `tokenizers` gave; byte_level_bpe_peer_test.cc asks the library itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "core/file.h"
#include "core/random.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "tests/data/bpe/styles.h"
#include "tests/data/temporary.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using testing::Style;
using testing::Styles;
using Json = nlohmann::json;

std::shared_ptr<const Tokenizer> MakeTokenizer(const Json& json) {
  auto tokenizer = Tokenizer::FromBytes(json.dump(), "t.json");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *tokenizer;
}

std::shared_ptr<const Tokenizer> MakeStyle(const std::string& name) {
  return MakeTokenizer(testing::FindStyle(name).tokenizer);
}

TEST(ByteLevelBpe, GivesTheIdsOfTheLibraryInEveryStyle) {
  for (const Style& style : Styles()) {
    const auto tokenizer = MakeTokenizer(style.tokenizer);
    for (size_t i = 0; i < style.texts.size(); ++i) {
      EXPECT_EQ(tokenizer->Encode(style.texts[i]), style.ids[i]) << style.name << ": " << style.texts[i];
      EXPECT_EQ(tokenizer->Decode(style.ids[i]), style.decoded[i]) << style.name << ": " << style.texts[i];
      EXPECT_EQ(tokenizer->Encode(style.texts[i]), style.ids[i]) << style.name << ", from the cache";
    }
  }
}

TEST(ByteLevelBpe, DecodesWhatItEncoded) {
  for (const char* name : {"gpt2", "llama3", "digits"}) {
    const auto tokenizer = MakeStyle(name);
    for (const std::string& text : testing::FindStyle(name).texts) {
      if (text.find("<|") == std::string::npos) EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text)), text) << name;
    }
  }
}

// Every split of the ids into what was pushed before and what after.
TEST(ByteLevelBpe, StreamsWholeCharacters) {
  const auto tokenizer = MakeStyle("gpt2");
  for (const std::string& text : testing::FindStyle("gpt2").texts) {
    if (text.find("<|endoftext|>") != std::string::npos) continue;  // gives no text
    std::vector<int32_t> ids = tokenizer->Encode(text);
    for (size_t end = 0; end <= ids.size(); ++end) {  // ids that end inside a character, too
      const absl::Span<const int32_t> part = absl::MakeConstSpan(ids).subspan(0, end);
      TextStream stream(tokenizer);
      std::string streamed;
      for (int32_t id : part) {
        const std::string piece = stream.Push(id);
        EXPECT_EQ(FirstInvalidUtf8(piece), piece.size()) << "half a character";
        streamed += piece;
      }
      EXPECT_EQ(text.substr(0, streamed.size()), streamed) << "shown too early";
      EXPECT_EQ(streamed + stream.Finish(), tokenizer->Decode(part));
    }
  }
}

TEST(ByteLevelBpe, ReplacesWhatIsNoCharacterOnce) {
  const auto tokenizer = MakeStyle("gpt2");
  const std::vector<int32_t> emoji = tokenizer->Encode("😀");
  ASSERT_EQ(emoji.size(), 4u) << "not a word of the training text: a piece for each byte";
  EXPECT_EQ(tokenizer->Decode({emoji[0], emoji[1], emoji[2]}), kUtf8Replacement);
  EXPECT_EQ(tokenizer->Decode({emoji[0], emoji[1], emoji[0], emoji[1], emoji[2], emoji[3]}),
            std::string(kUtf8Replacement) + "😀");
  EXPECT_EQ(tokenizer->Decode({emoji[3]}), kUtf8Replacement);
}

TEST(ByteLevelBpe, TakesAnyBytes) {
  const auto tokenizer = MakeStyle("gpt2");
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("a\xFFz")), "a\uFFFDz");
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("a\xF0\x9F\x98")), "a\uFFFD");
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(std::string("a\0b", 3))), std::string("a\0b", 3));
}

TEST(ByteLevelBpe, FindsBeginAndEndOfText) {
  EXPECT_EQ(MakeStyle("gpt2")->bos(), 640) << "the one there is serves as both";
  EXPECT_EQ(MakeStyle("gpt2")->eos(), 640);
  EXPECT_EQ(MakeStyle("llama3")->bos(), 640);
  EXPECT_EQ(MakeStyle("llama3")->eos(), 641);
  EXPECT_EQ(MakeStyle("split_isolated")->bos(), -1);
  EXPECT_EQ(MakeStyle("llama3")->Decode({640, 643, -1, 1 << 30, 641}), "") << "nothing to show";
  Json json = testing::FindStyle("llama3").tokenizer;  // the post-processor knows better than names do
  json["post_processor"]["processors"][1]["single"][0]["SpecialToken"]["id"] = "<|eot_id|>";
  EXPECT_EQ(MakeTokenizer(json)->bos(), 642);
}

TEST(ByteLevelBpe, TellsItsVocabulary) {
  const auto tokenizer = MakeStyle("gpt_neox");
  const Vocabulary vocabulary = tokenizer->vocabulary();
  ASSERT_EQ(vocabulary.pieces.size(), 664u);
  EXPECT_EQ(tokenizer->vocab_size(), 664);
  EXPECT_EQ(vocabulary.pieces[640].kind, PieceKind::kControl);
  EXPECT_EQ(vocabulary.pieces[641].kind, PieceKind::kAdded);
  EXPECT_EQ(vocabulary.pieces[641].text, std::string(24, ' '));
  EXPECT_EQ(vocabulary.merges.size(), testing::FindStyle("gpt_neox").tokenizer["model"]["merges"].size());
  EXPECT_EQ(vocabulary.merges[0], "Ġ t");
  EXPECT_EQ(vocabulary.word_pattern, "gpt-2");
  EXPECT_EQ(MakeStyle("llama3")->vocabulary().word_pattern, "llama-bpe");
  EXPECT_EQ(MakeStyle("qwen2")->vocabulary().word_pattern, "qwen2");
  EXPECT_FALSE(vocabulary.ignore_merges);
  EXPECT_TRUE(MakeStyle("ignored_merges")->vocabulary().ignore_merges);
}

// A program that knew the pattern alone would cut texts differently.
TEST(ByteLevelBpe, NamesThePatternOnlyWhereNothingElseCuts) {
  const auto named = [](const Json& steps) {
    Json json = testing::FindStyle("llama3").tokenizer;
    json["pre_tokenizer"]["pretokenizers"] = steps;
    return MakeTokenizer(json)->vocabulary().word_pattern;
  };
  const Json llama3 = testing::FindStyle("llama3").tokenizer["pre_tokenizer"]["pretokenizers"][0];
  const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  const Json bytes = {{"type", "ByteLevel"}, {"use_regex", false}, {"add_prefix_space", false}};
  const Json gpt2 = {{"type", "ByteLevel"}, {"use_regex", true}, {"add_prefix_space", false}};
  const Json prefix = {{"type", "ByteLevel"}, {"use_regex", false}, {"add_prefix_space", true}};
  Json own = llama3, removed = llama3;
  own["pattern"]["Regex"] = "[0-9]";
  removed["behavior"] = "Removed";
  EXPECT_EQ(named({llama3, bytes}), "llama-bpe");
  EXPECT_EQ(named(Json::array({gpt2})), "gpt-2");
  EXPECT_EQ(named({digits, gpt2}), "") << "StarCoder's: 123 is three words";
  EXPECT_EQ(named({digits, llama3, bytes}), "");
  EXPECT_EQ(named({llama3, digits, bytes}), "");
  EXPECT_EQ(named({llama3, own, bytes}), "");
  EXPECT_EQ(named({own, llama3, bytes}), "");
  EXPECT_EQ(named({llama3, gpt2}), "");
  EXPECT_EQ(named({removed, bytes}), "");
  EXPECT_EQ(named({llama3, prefix}), "") << "a space before every word";
  EXPECT_EQ(named(Json::array({bytes})), "") << "nothing is cut";
}

TEST(ByteLevelBpe, LeavesHolesInIdsEmpty) {
  Json json = testing::FindStyle("gpt2").tokenizer;
  json["added_tokens"][0]["id"] = 700;
  const auto tokenizer = MakeTokenizer(json);
  EXPECT_EQ(tokenizer->vocab_size(), 701);
  EXPECT_EQ(tokenizer->eos(), 700);
  EXPECT_EQ(tokenizer->Encode("<|endoftext|>"), std::vector<int32_t>{700});
  EXPECT_EQ(tokenizer->Decode({650, 700, 699}), "");
  EXPECT_EQ(tokenizer->vocabulary().pieces[650].kind, PieceKind::kHole);
}

TEST(ByteLevelBpe, ShowsAddedTokensAsTheyAre) {
  Json json = testing::FindStyle("gpt2").tokenizer;
  json["added_tokens"].push_back({{"id", 641}, {"content", "éé"}, {"special", false}});  // not the bytes E9 E9
  const auto tokenizer = MakeTokenizer(json);
  EXPECT_EQ(tokenizer->Encode("aééa")[1], 641);
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("aééa")), "aééa");
}

// Texts of everything that patterns tell apart, cut wherever MayCut says so.
TEST(ByteLevelBpe, EncodesInPartsAsInOne) {
  const std::vector<std::string> atoms = {"a",  "B",    "'s", "1",      ".",      "!?",         " ",
                                          "\n", "\r",   "\t", "é",      "\u3000", "\u0301",     "\u00a0",
                                          "日", "word", "e",  "\u2028", "😀",      "<|eot_id|>", "<|endoftext|>",
                                          "  ", "\n\n"};
  const Philox random(3, 0);
  for (const char* name : {"gpt2", "gpt_neox", "llama3", "qwen2", "digits", "digit_runs", "prefix_space"}) {
    const auto tokenizer = MakeStyle(name);
    if (std::string(name) == "digit_runs") {
      EXPECT_FALSE(tokenizer->can_cut()) << "nothing parts words";
      continue;
    }
    ASSERT_TRUE(tokenizer->can_cut()) << name;
    int cuts = 0;
    for (uint64_t round = 0; round < 2000; ++round) {
      std::string text;
      for (uint64_t i = 0; i < 12; ++i) text += atoms[random.Block(round * 12 + i)[0] % atoms.size()];
      const std::vector<int32_t> whole = tokenizer->Encode(text);
      for (size_t at = 1; at < text.size(); ++at) {
        if (!tokenizer->MayCut(text, at)) continue;
        ++cuts;
        std::vector<int32_t> parts = tokenizer->Encode(text.substr(0, at));
        const std::vector<int32_t> rest = tokenizer->EncodeRest(text.substr(at));
        parts.insert(parts.end(), rest.begin(), rest.end());
        ASSERT_EQ(parts, whole) << name << " at " << at << " of " << Json(text).dump();
      }
    }
    EXPECT_GT(cuts, 1000) << name;
  }
}

TEST(ByteLevelBpe, IsNotCutWhereThatIsNotKnownToBeSafe) {
  for (const char* name : {"flags", "split_isolated", "prefix_space_of_pieces"}) {
    const auto tokenizer = MakeStyle(name);
    EXPECT_FALSE(tokenizer->can_cut()) << name;
    EXPECT_EQ(tokenizer->FindCut("some words\nand more\n", 3), absl::string_view::npos);
  }
  const auto tokenizer = MakeStyle("gpt2");
  EXPECT_EQ(tokenizer->FindCut("some words", 0), 4u);
  EXPECT_EQ(tokenizer->FindCut("some words", 5), absl::string_view::npos);
  Json json = testing::FindStyle("gpt2").tokenizer;
  json["added_tokens"].push_back({{"id", 641}, {"content", "two words"}});
  EXPECT_FALSE(MakeTokenizer(json)->can_cut()) << "a cut could part the token";
}

TEST(ByteLevelBpe, ServesSeveralThreads) {
  const auto tokenizer = MakeStyle("llama3");
  std::string text;
  for (const std::string& part : testing::FindStyle("llama3").texts) text += part;
  const std::vector<int32_t> want = MakeStyle("llama3")->Encode(text);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) EXPECT_EQ(tokenizer->Encode(text), want);
    });
  }
}

// Quadratic work would take minutes: words of 2 MB, and two cut at the same places must agree.
TEST(ByteLevelBpe, TakesVeryLongWords) {
  const auto tokenizer = MakeStyle("gpt2");
  for (const char letter : {' ', 'e', '-', '\n'}) {
    const std::string word(2 << 20, letter);
    const std::vector<int32_t> ids = tokenizer->Encode(word);
    EXPECT_EQ(tokenizer->Decode(ids), word);
  }
  const std::vector<int32_t> one = tokenizer->Encode(std::string(47, 'e') + ".");  // by the short way
  const std::vector<int32_t> two = tokenizer->Encode(std::string(94, 'e') + ".");  // by the long way
  EXPECT_EQ(std::vector<int32_t>(two.begin(), two.begin() + 8), std::vector<int32_t>(one.begin(), one.begin() + 8));
}

// What a file holds and what its refusal says.
struct Broken {
  Json patch;
  const char* message;
};

TEST(ByteLevelBpe, RefusesWhatItDoesNotKnowByName) {
  const auto split = [](const char* pattern) {
    return Json{{"pre_tokenizer",
                 {{"type", "Sequence"},
                  {"pretokenizers",
                   {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
                    {{"type", "ByteLevel"}, {"use_regex", false}, {"add_prefix_space", false}}}}}}};
  };
  const Broken broken[] = {
      {{{"normalizer", {{"type", "NFKC"}}}}, "normalizer is \"NFKC\": supported are NFC"},
      {{{"pre_tokenizer", {{"type", "Metaspace"}}}}, "pre_tokenizer is \"Metaspace\""},
      {{{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Digits"}}}}}}}, "has no ByteLevel"},
      {{{"pre_tokenizer", nullptr}}, "pre_tokenizer is of no known type"},
      {{{"decoder", {{"type", "WordPiece"}}}}, "decoder is \"WordPiece\""},
      {{{"decoder", nullptr}}, "decoder is of no known type"},
      {{{"post_processor", {{"type", "Unheard"}}}}, "post_processor is \"Unheard\""},
      {{{"model", {{"type", "Unigram"}}}}, "model is \"Unigram\": supported are BPE"},
      {{{"model", {{"byte_fallback", true}}}}, "model.byte_fallback"},
      {{{"model", {{"end_of_word_suffix", "</w>"}}}}, "model.end_of_word_suffix"},
      {{{"model", {{"dropout", 0.1}}}}, "model.dropout"},
      {{{"model", {{"vocab", {{"!", nullptr}}}}}}, "no piece for the byte 0x21"},
      {{{"model", {{"vocab", {{"twice", 5}}}}}}, "both have id 5"},
      {{{"model", {{"vocab", {{"below", -1}}}}}}, "has id -1"},
      {{{"model", {{"vocab", {{"large", 1LL << 40}}}}}}, "ids go from 0"},
      {{{"model", {{"vocab", {{"half", 0.5}}}}}}, "not an integer"},
      {{{"model", {{"vocab", nullptr}}}}, "model.vocab is not an object"},
      {{{"model", {{"merges", {"Ġ t", "Q unheard"}}}}}, "model.merges[1] (\"Q unheard\") names the piece \"unheard\""},
      {{{"model", {{"merges", {"a b c"}}}}}, "model.merges[0] (\"a b c\") is not a pair"},
      {{{"model", {{"merges", {{"a", "b", "c"}}}}}}, "is not a pair"},
      {{{"model", {{"merges", "none"}}}}, "model.merges is not an array"},
      {{{"model", nullptr}}, "there is no model"},
      {{{"added_tokens", {{{"id", 3}, {"content", "new"}}}}}, "both have id 3"},
      {{{"added_tokens", {{{"id", 3}, {"content", "!"}}}}}, "model.vocab gives it 0"},
      {{{"added_tokens", {{{"content", "!"}}}}}, "no id"},
      {{{"added_tokens", {{{"id", 640}, {"content", "x!"}}, {{"id", 641}, {"content", "x!"}}}}}, "twice"},
      {split("("), "not a regular expression"},
      {split("a*"), "matches an empty text"},
      {split("\\w+"), "`\\w` at byte 0 is not supported"},
      {split("a\\p{Han}"), "`\\p{Han}` at byte 1 is not supported"},
      {split("[a&&b]"), "is not supported"},
      {split("(?i)a"), "is not supported"},
  };
  for (const Broken& each : broken) {
    Json json = testing::FindStyle("split_isolated").tokenizer;
    json.merge_patch(each.patch);
    if (each.patch.contains("model") && each.patch["model"].is_null()) json.erase("model");
    const auto status = Tokenizer::FromBytes(json.dump(), "odd.json").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << each.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(each.message));
    EXPECT_THAT(std::string(status.message()), HasSubstr("tokenizer odd.json: "));
  }
}

TEST(ByteLevelBpe, RefusesBrokenJson) {
  const std::string whole = testing::FindStyle("gpt2").tokenizer.dump();
  for (const size_t size : {size_t{1}, size_t{2}, whole.size() / 2, whole.size() - 1}) {
    const auto status = Tokenizer::FromBytes(whole.substr(0, size), "cut.json").status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("tokenizer cut.json: not valid JSON at byte")) << size;
  }
  EXPECT_FALSE(Tokenizer::FromBytes("{}", "empty.json").ok());
  EXPECT_FALSE(Tokenizer::FromBytes(std::string(100000, '{'), "deep.json").ok());
}

TEST(ByteLevelBpe, IsItsBytes) {
  const std::string bytes = "\n " + testing::FindStyle("gpt2").tokenizer.dump();
  const auto tokenizer = Tokenizer::FromBytes(bytes, "t.json");
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ((*tokenizer)->bytes(), bytes);
  EXPECT_STREQ(TokenizerFileName(bytes), "tokenizer.json");
  EXPECT_STREQ(TokenizerFileName("\n\x0e\n\x05<unk>"), "tokenizer.model");
}

}  // namespace
}  // namespace photon
