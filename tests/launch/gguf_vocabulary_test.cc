// Which tokenizers `checkpoint export --format gguf` takes, what it tells llama.cpp of them, and what it refuses.
#include "launch/gguf_vocabulary.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/sentencepiece/api.h"
#include "tests/data/bpe/styles.h"
#include "tests/launch/model_checkpoint.h"
#include "tests/launch/process.h"
#include "tests/support/models.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

Json Neox() {  // as GPT-NeoX's own file: it normalizes
  Json json = FindStyle("gpt_neox").tokenizer;
  json["normalizer"] = {{"type", "NFC"}};
  return json;
}

void Append(void* user, const char* data, size_t size) { static_cast<std::string*>(user)->append(data, size); }

// The next of 4000 lines about numbers, in words.
bool NextLine(void* user, const char** data, size_t* size) {
  static constexpr const char* kWords[] = {"null", "one", "two", "three", "four", "five", "six", "seven"};
  auto& [number, line] = *static_cast<std::pair<int, std::string>*>(user);
  if (number == 4000) return false;
  line = absl::StrCat(kWords[number % 8], " and ", kWords[number / 8 % 8], " times ", kWords[number / 64 % 8], " is ",
                      kWords[number * 7 % 8]);
  ++number;
  *data = line.data();
  *size = line.size();
  return true;
}

std::string SentencePiece(const char* type, const char* pieces, const char* bytes) {
  const char* problem = nullptr;
  const SentencePieceApi* api = LoadSentencePiece(&problem);
  const char* options[] = {
      "model_type",  type, "vocab_size",  pieces, "byte_fallback",           bytes,     "hard_vocab_limit", "false",
      "num_threads", "1",  "minloglevel", "2",    "normalization_rule_name", "identity"};
  std::string model, error;
  std::pair<int, std::string> lines;
  EXPECT_TRUE(api->train(options, std::size(options), NextLine, &lines, Append, &model, Append, &error)) << error;
  return model;
}

std::string VocabularyRefusal(const std::string& bytes) {
  const absl::StatusOr<GgufVocabulary> vocabulary = GgufVocabularyOf(bytes, "run/tokenizer");
  EXPECT_EQ(vocabulary.status().code(), absl::StatusCode::kFailedPrecondition) << vocabulary.status();
  const std::string message(vocabulary.status().message());
  EXPECT_THAT(message, AllOf(HasSubstr("run/tokenizer: "), HasSubstr("--tokenizer none"))) << "which file, what to do";
  return message;
}

TEST(GgufVocabulary, OfSentencePiece) {
  const auto vocabulary = GgufVocabularyOf(SentencePiece("bpe", "300", "true"), "t");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->model, "llama");
  EXPECT_EQ(vocabulary->bos, 1);
  EXPECT_EQ(vocabulary->eos, 2);
  EXPECT_EQ(vocabulary->unknown, 0);
  EXPECT_TRUE(vocabulary->add_space_prefix);
  EXPECT_EQ(vocabulary->pieces[3 + 'a'], "<0x61>");
  EXPECT_EQ(vocabulary->types[3 + 'a'], GgufVocabulary::kByte);
  EXPECT_EQ(vocabulary->scores.size(), vocabulary->pieces.size());
  EXPECT_TRUE(vocabulary->merges.empty());
}

// llama.cpp's name says how words are cut and whether a word that is a piece is taken whole.
TEST(GgufVocabulary, OfBytePairEncoding) {
  const auto pre_tokenizer = [](const char* style, bool ignore_merges) {
    Json json = FindStyle(style).tokenizer;
    json["normalizer"] = nullptr;
    json["model"]["ignore_merges"] = ignore_merges;
    const auto vocabulary = GgufVocabularyOf(json.dump(), "t");
    if (!vocabulary.ok()) return std::string(vocabulary.status().message());
    EXPECT_EQ(vocabulary->model, "gpt2");
    EXPECT_EQ(vocabulary->merges.size(), json["model"]["merges"].size());
    EXPECT_FALSE(vocabulary->add_space_prefix);
    return vocabulary->pre_tokenizer;
  };
  EXPECT_EQ(pre_tokenizer("gpt2", false), "gpt-2");
  EXPECT_EQ(pre_tokenizer("gpt_neox", false), "gpt-2");
  EXPECT_EQ(pre_tokenizer("qwen2", false), "qwen2");
  EXPECT_EQ(pre_tokenizer("llama3", true), "llama-bpe");
  EXPECT_EQ(pre_tokenizer("llama3", false), "dbrx");
  EXPECT_THAT(pre_tokenizer("gpt2", true), HasSubstr("ignore_merges, which llama.cpp hasn't"));
  EXPECT_THAT(pre_tokenizer("qwen2", true), HasSubstr("ignore_merges, which llama.cpp hasn't"));
}

TEST(GgufVocabulary, RefusesWhatLlamaCppWouldCutDifferently) {
  EXPECT_THAT(VocabularyRefusal(SentencePiece("unigram", "300", "true")), HasSubstr("not of type BPE"));
  EXPECT_THAT(VocabularyRefusal(SentencePiece("bpe", "60", "false")), HasSubstr("lacks byte pieces"));
  EXPECT_THAT(VocabularyRefusal(Neox().dump()), HasSubstr("normalizes"));
  EXPECT_THAT(VocabularyRefusal(FindStyle("prefix_space").tokenizer.dump()), HasSubstr("a space before texts"));
  EXPECT_THAT(VocabularyRefusal(FindStyle("split_isolated").tokenizer.dump()), HasSubstr("no pattern that llama.cpp"));
  EXPECT_THAT(VocabularyRefusal(FindStyle("digits").tokenizer.dump()), HasSubstr("no pattern that llama.cpp"))
      << "GPT-2's pattern, but digits are cut off first";
  EXPECT_THAT(VocabularyRefusal(FindStyle("ignored_merges").tokenizer.dump()), HasSubstr("ignore_merges"));
}

TEST(GgufVocabulary, BrokenTokenizersAreBadInput) {
  EXPECT_EQ(GgufVocabularyOf("no tokenizer", "t").status().code(), absl::StatusCode::kInvalidArgument);
}

class GgufCommand : public ::testing::Test {
 protected:
  Outcome Export(const TinyModel& tiny, const std::string& tokenizer, const std::string& more) {
    WriteModelCheckpoint(folder_ / "model", *MakeModel(context_, tiny), tokenizer);
    return RunPhoton(
        absl::StrCat("checkpoint export --checkpoint ", folder_ / "model", " --out ", folder_ / "F.gguf", " ", more));
  }
  bool written() const { return std::filesystem::exists(folder_ / "F.gguf"); }

  const TestContext context_;
  const TemporaryFolder folder_;
};

TEST_F(GgufCommand, LeavesTheTokenizerOutWhereAsked) {
  const TinyModel flat = {.chunks = {}, .vocab = 664};
  Outcome outcome = Export(flat, Neox().dump(), "--format gguf");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("tokenizer.json: it normalizes"), HasSubstr("--tokenizer none")));
  EXPECT_FALSE(written());
  outcome = Export(flat, Neox().dump(), "--format gguf --tokenizer none");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("without a tokenizer: token ids only"));
  EXPECT_TRUE(written());
}

TEST_F(GgufCommand, JudgesTheModelBeforeTheTokenizer) {
  const Outcome outcome = Export({.vocab = 664}, Neox().dump(), "--format gguf");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("2 level(s) (PHOTON or Block Transformer), which no GGUF architecture has"));
  EXPECT_FALSE(written());
}

TEST_F(GgufCommand, SafetensorsHoldNoTokenizerToLeaveOut) {
  const Outcome outcome = Export({.chunks = {}}, "", "--tokenizer none");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--tokenizer none is for --format gguf"));
}

}  // namespace
}  // namespace photon
