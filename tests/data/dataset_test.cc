#include "data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "core/random.h"
#include "data/unigram.h"
#include "tests/data/temporary.h"

namespace photon {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::WriteDocuments;

constexpr int32_t kEnd = 2;

DatasetOptions Options(int64_t length, int64_t align) {
  return {
      .sequence_length = length, .align = align, .document_mask = true, .seed = 7, .vocab_size = 1000, .padding = kEnd};
}

std::shared_ptr<const Dataset> MakeDataset(std::shared_ptr<const TokenFile> file, const DatasetOptions& options) {
  auto dataset = Dataset::Create(file, {0, file->documents()}, options);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  return *dataset;
}

// Documents of the given lengths over distinct ids (100, 101, ...), so that an id says where it came from.
std::vector<std::vector<int32_t>> Distinct(std::initializer_list<int> lengths) {
  std::vector<std::vector<int32_t>> documents;
  int32_t id = 100;
  for (int length : lengths) {
    documents.emplace_back(length);
    std::iota(documents.back().begin(), documents.back().end(), id);
    id += length;
  }
  return documents;
}

TEST(Dataset, PadsDocumentsAndDropsWhatDoesNotFit) {
  TemporaryFolder folder;
  const auto dataset = MakeDataset(WriteDocuments(folder / "x", Distinct({3, 5, 8})), Options(8, 4));
  ASSERT_EQ(dataset->samples(), 2);
  const auto batch = dataset->Samples(0, 2);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT(batch->tokens, ElementsAre(100, 101, 102, kEnd, 103, 104, 105, 106,  // 107 is dropped
                                         108, 109, 110, 111, 112, 113, 114, 115));
  EXPECT_THAT(batch->real, ElementsAre(1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
  EXPECT_THAT(batch->scored, ElementsAre(0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1));
  EXPECT_THAT(batch->document_begin, ElementsAre(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0));
}

TEST(Dataset, LongDocumentsAreUsedWholeInParts) {
  TemporaryFolder folder;
  const auto dataset = MakeDataset(WriteDocuments(folder / "x", Distinct({19, 7})), Options(8, 4));
  ASSERT_EQ(dataset->samples(), 3);
  const auto batch = dataset->Samples(0, 3);
  ASSERT_TRUE(batch.ok()) << batch.status();
  std::vector<int32_t> want(16);
  std::iota(want.begin(), want.end(), 100);
  want.insert(want.end(), {116, 117, 118, kEnd, 119, 120, 121, 122});
  EXPECT_EQ(batch->tokens, want);
  EXPECT_EQ(batch->scored[8], 0) << "nothing before it is visible";
  EXPECT_EQ(batch->scored[16], 0);
  EXPECT_EQ(batch->scored[20], 0);
  EXPECT_EQ(batch->document_begin[20], 4) << "relative to its own sequence";
}

TEST(Dataset, PlainPackingWithoutMaskScoresTheSameTokens) {
  TemporaryFolder folder;
  const auto file = WriteDocuments(folder / "x", Distinct({3, 5, 8}));
  DatasetOptions options = Options(8, 1);
  const auto masked = MakeDataset(file, options)->Samples(0, 2);
  options.document_mask = false;
  const auto plain = MakeDataset(file, options)->Samples(0, 2);
  EXPECT_THAT(plain->document_begin, Each(0));
  EXPECT_THAT(plain->real, Each(1));
  EXPECT_THAT(plain->scored, ElementsAre(0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1));
  EXPECT_EQ(plain->scored, masked->scored);
  EXPECT_EQ(plain->tokens, masked->tokens);
  EXPECT_THAT(masked->document_begin, ElementsAre(0, 0, 0, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0));
}

TEST(Dataset, FewerTokensThanASequenceArePadded) {
  TemporaryFolder folder;
  const auto dataset = MakeDataset(WriteDocuments(folder / "x", Distinct({2, 3})), Options(16, 4));
  ASSERT_EQ(dataset->samples(), 1);
  const auto batch = dataset->Samples(0, 1);
  EXPECT_THAT(batch->real, ElementsAre(1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_EQ(batch->document_begin[15], 8) << "padding at the end belongs to no document";
}

TEST(Dataset, AShortRangeDoesNotRunIntoTheNextDocuments) {
  TemporaryFolder folder;
  const auto file = WriteDocuments(folder / "x", Distinct({2, 3, 40}));
  const auto dataset = Dataset::Create(file, {0, 2}, Options(16, 4));
  const auto batch = (*dataset)->Samples(0, 1);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT(batch->tokens,
              ElementsAre(100, 101, kEnd, kEnd, 102, 103, 104, kEnd, kEnd, kEnd, kEnd, kEnd, kEnd, kEnd, kEnd, kEnd));
}

// Random lengths, aligns and sequence lengths against the rules, position by position.
TEST(Dataset, PackingRulesHoldOnRandomFiles) {
  TemporaryFolder folder;
  const Philox random(3, 0);
  uint64_t draw = 0;
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random.Block(draw++)[0] % n); };
  for (int round = 0; round < 30; ++round) {
    std::vector<std::vector<int32_t>> documents;
    std::vector<int32_t> stream, first_of_document;
    for (int64_t d = 0, n = 1 + below(40); d < n; ++d) {
      documents.emplace_back(1 + below(round % 2 ? 12 : 90));
      for (size_t i = 0; i < documents.back().size(); ++i) {
        documents.back()[i] = static_cast<int32_t>(stream.size());
        first_of_document.push_back(i == 0);
        stream.push_back(static_cast<int32_t>(stream.size()));
      }
    }
    DatasetOptions options = Options(0, 1 + below(6));
    options.sequence_length = options.align * (1 + below(8));
    options.vocab_size = 4000;
    const auto dataset = MakeDataset(WriteDocuments(folder / "x", documents, 4000), options);
    const auto batch = dataset->Samples(0, dataset->samples());
    ASSERT_TRUE(batch.ok()) << batch.status();
    std::set<int32_t> seen;
    for (int64_t k = 0; k < batch->sequences; ++k) {
      const int64_t length = options.sequence_length, row = k * length;
      ASSERT_EQ(batch->tokens[row], k * length) << "a sample begins at stream position k T";
      ASSERT_TRUE(batch->real[row]);
      for (int64_t i = 0; i < length; ++i) {
        const int64_t begin = batch->document_begin[row + i];
        ASSERT_EQ(begin % options.align, 0);
        ASSERT_LE(begin, i);
        if (!batch->real[row + i]) {
          ASSERT_FALSE(batch->scored[row + i]);
          ASSERT_EQ(batch->tokens[row + i], kEnd);
          continue;
        }
        const int32_t id = batch->tokens[row + i];
        ASSERT_TRUE(seen.insert(id).second) << "no token is in two samples";
        ASSERT_EQ(batch->scored[row + i], begin != i);
        if (begin == i) {
          ASSERT_TRUE(i == 0 || first_of_document[id]);
        } else {
          ASSERT_EQ(id, batch->tokens[row + i - 1] + 1) << "documents run on without a gap";
          ASSERT_FALSE(first_of_document[id]);
        }
      }
    }
  }
}

TEST(Dataset, ABatchIsAFunctionOfSeedAndStepWhateverTheRanks) {
  TemporaryFolder folder;
  const auto file = WriteDocuments(folder / "x", Distinct({50, 3, 120, 9, 77, 200, 31, 64}));
  const auto dataset = MakeDataset(file, Options(8, 4));
  constexpr int64_t kBatch = 12;
  for (int64_t step : {0, 1, 7, 1000}) {
    const auto whole = dataset->Batch(step, kBatch, 0, kBatch);
    ASSERT_TRUE(whole.ok()) << whole.status();
    for (int64_t ranks : {1, 2, 3, 4}) {
      TokenBatch joined;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const auto part = MakeDataset(file, Options(8, 4))->Batch(step, kBatch, rank * kBatch / ranks, kBatch / ranks);
        joined.tokens.insert(joined.tokens.end(), part->tokens.begin(), part->tokens.end());
        joined.document_begin.insert(joined.document_begin.end(), part->document_begin.begin(),
                                     part->document_begin.end());
        joined.scored.insert(joined.scored.end(), part->scored.begin(), part->scored.end());
      }
      EXPECT_EQ(joined.tokens, whole->tokens) << step << " on " << ranks;
      EXPECT_EQ(joined.document_begin, whole->document_begin);
      EXPECT_EQ(joined.scored, whole->scored);
    }
  }
  DatasetOptions other = Options(8, 4);
  other.seed = 8;
  EXPECT_NE(MakeDataset(file, other)->Batch(0, kBatch, 0, kBatch)->tokens,
            dataset->Batch(0, kBatch, 0, kBatch)->tokens);
}

TEST(Dataset, AnEpochHoldsEverySampleOnceInAnOrderOfItsOwn) {
  TemporaryFolder folder;
  const auto dataset = MakeDataset(WriteDocuments(folder / "x", Distinct({300})), Options(8, 4));
  const int64_t samples = dataset->samples();  // 37: epochs end inside batches
  std::vector<std::vector<int32_t>> epochs(3);
  for (int64_t i = 0; i < 3 * samples; ++i) {
    epochs[i / samples].push_back(dataset->Batch(i / 5, 5, i % 5, 1)->tokens[0]);
  }
  for (const auto& epoch : epochs) EXPECT_EQ(std::set<int32_t>(epoch.begin(), epoch.end()).size(), samples);
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(Dataset, ValidationDocumentsAreNeverTrainedOn) {
  TemporaryFolder folder;
  const auto file = WriteDocuments(folder / "x", Distinct({50, 3, 120, 9, 77, 200, 31, 64, 40, 13}));
  const auto split = SplitDocuments(*file, 0.25);
  ASSERT_TRUE(split.ok());
  EXPECT_EQ(split->train.end, 7);
  EXPECT_EQ(split->valid.begin, 7);
  EXPECT_EQ(split->valid.end, 10);
  const auto train = Dataset::Create(file, split->train, Options(16, 4));
  const auto valid = Dataset::Create(file, split->valid, Options(16, 4));
  const int32_t first_held_out = 100 + static_cast<int32_t>(*file->DocumentBegin(7));
  const auto trained = (*train)->Samples(0, (*train)->samples());
  const auto held_out = (*valid)->Samples(0, (*valid)->samples());
  for (size_t i = 0; i < trained->tokens.size(); ++i)
    EXPECT_TRUE(!trained->real[i] || trained->tokens[i] < first_held_out);
  for (size_t i = 0; i < held_out->tokens.size(); ++i)
    EXPECT_TRUE(!held_out->real[i] || held_out->tokens[i] >= first_held_out);
}

TEST(Dataset, SplitsThatLeaveNothingAreRefused) {
  TemporaryFolder folder;
  const auto one = WriteDocuments(folder / "one", Distinct({50}));
  EXPECT_THAT(SplitDocuments(*one, 0.02).status().message(), HasSubstr("--document-separator"));
  const auto two = WriteDocuments(folder / "two", Distinct({50, 50}));
  EXPECT_EQ(SplitDocuments(*two, 0.001)->valid.begin, 1);
  EXPECT_FALSE(SplitDocuments(*two, 0.9).ok());
  EXPECT_FALSE(SplitDocuments(*two, 1.5).ok());
  EXPECT_FALSE(SplitDocuments(*two, -0.1).ok());
}

TEST(Dataset, IdsBeyondTheVocabularyNameFileAndDocument) {
  TemporaryFolder folder;
  const auto file = WriteDocuments(folder / "x", {{1, 2, 3, 4}, {5, 999, 7, 8}}, 1000);
  DatasetOptions options = Options(4, 4);
  options.vocab_size = 999;
  const auto dataset = MakeDataset(file, options);
  EXPECT_TRUE(dataset->Samples(0, 1).ok());
  const absl::Status status = dataset->Samples(1, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("x.bin: document 1 holds token id 999"));
}

TEST(Dataset, ASequenceLengthThatAlignDoesNotDivideIsRefused) {
  TemporaryFolder folder;
  const auto file = WriteDocuments(folder / "x", {{1, 2, 3}});
  EXPECT_THAT(Dataset::Create(file, {0, 1}, Options(10, 4)).status().message(), HasSubstr("data.align"));
}

TEST(AddScoredTokens, CountsNoOthers) {
  TemporaryFolder folder;
  // Scored: 5 5 6 6 | 5 6: a fair coin.
  const auto dataset = MakeDataset(WriteDocuments(folder / "x", {{1, 5, 5, 6, 6}, {1, 5, 6}}), Options(8, 1));
  UnigramCounts counts;
  ASSERT_TRUE(AddScoredTokens(*dataset, 0, &counts).ok());
  EXPECT_NEAR(counts.Entropy(), std::log(2.0), 1e-15);
}

}  // namespace
}  // namespace photon
