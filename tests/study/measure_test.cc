#include "study/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/train_tokenizer.h"
#include "inference/generate.h"
#include "inference/selection.h"
#include "tests/launch/model_checkpoint.h"
#include "tests/support/models.h"
#include "tests/support/temporary_folder.h"

namespace photon::study {
namespace {

using ::testing::ElementsAre;

TEST(StudyMeasure, PiecesAreDocumentsWithoutPadding) {
  TokenBatch batch;
  batch.sequences = 2;
  batch.length = 6;
  batch.tokens = {1, 2, 3, 9, 4, 5, 6, 9, 7, 8, 9, 9};
  batch.document_begin = {0, 0, 0, 0, 4, 4, 0, 0, 2, 2, 2, 2};
  batch.real = {1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 0};
  EXPECT_THAT(ScoredPieces(batch), ElementsAre(ElementsAre(1, 2, 3), ElementsAre(4, 5), ElementsAre(7, 8)));
}

// The first token of a piece is given, and no loss is taken of it: its text counts for nothing.
TEST(StudyMeasure, BytesAreThoseOfTheScoredTokens) {
  const testing::TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 20; ++i) text += "the end of the beginning of the end\n";
  CorpusOptions corpus;
  corpus.files = {folder.Write("t.txt", text)};
  const auto tokenizer = *Tokenizer::FromBytes(*TrainTokenizer(corpus, 280), "test");
  const std::vector<int32_t> whole = tokenizer->Encode("the end");
  ASSERT_GE(whole.size(), 2u);
  std::vector<int32_t> document = {tokenizer->bos()};
  document.insert(document.end(), whole.begin(), whole.end());
  const auto first = static_cast<int64_t>(tokenizer->Bytes(whole[0]).size());
  const int64_t all = ScoredBytes(*tokenizer, {document});
  EXPECT_EQ(all, 8) << "with the space that encoding puts before";
  EXPECT_EQ(ScoredBytes(*tokenizer, {document, whole}), 2 * all - first);
}

// What a mode writes, it must find as likely as when it wrote it: 16 tokens read exactly, then the mode's own way.
TEST(StudyMeasure, LossOfAModeIsThatOfItsGeneration) {
  const testing::TemporaryFolder folder;
  const auto device = *OpenedDevice::Open("cpu");
  testing::WriteModelCheckpoint(folder / "model", *testing::MakeModel(device->MakeContext(nullptr), {}), "");
  const auto loaded = LoadedModel::Load(folder / "model", DType::kF32, *device);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const std::vector<int32_t> prompt = testing::RandomTokens(16, 19, 7);
  for (const GenerationMode mode : {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec}) {
    const auto written =
        Generate((*loaded)->decoder(), prompt,
                 {.mode = mode, .max_new_tokens = 80, .sampling = {.seed = 5}, .log_probabilities = 0});
    ASSERT_TRUE(written.ok()) << written.status();
    const Continuation& continuation = written->continuations[0];
    std::vector<int32_t> all = prompt;
    all.insert(all.end(), continuation.tokens.begin(), continuation.tokens.end());
    const auto of_prompt = ModeLoss(**loaded, mode, {prompt}, 16), of_all = ModeLoss(**loaded, mode, {all}, 16);
    ASSERT_TRUE(of_prompt.ok() && of_all.ok()) << of_all.status();
    EXPECT_NEAR((95 * *of_all - 15 * *of_prompt) / 80, -MeanLogProbability(continuation), 1e-4) << Name(mode);
  }
}

}  // namespace
}  // namespace photon::study
