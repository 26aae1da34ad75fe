#include "train/validation.h"

#include <gtest/gtest.h>

#include <tuple>

#include "tests/train/training_run.h"

namespace photon {
namespace {

using namespace photon::testing;

class ValidationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    tokens_ = WriteTokens(folder_ / "tokens");
    valid_ = *Dataset::Create(tokens_, {20, 55}, {.sequence_length = 64, .align = 16, .vocab_size = kVocab});
    ASSERT_GT(valid_->samples(), 12);
  }
  static TrainingConfig Config(int64_t sequences, int micro) {
    TrainingConfig config;
    config.set_valid_sequences(sequences);
    config.set_micro_batch_sequences(micro);
    return config;
  }
  // Sequences of all ranks, in rank order.
  TokenBatch Union(const TrainingConfig& config, int ranks) const {
    TokenBatch all;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto batches = ValidationBatches(*valid_, config, rank, ranks);
      EXPECT_TRUE(batches.ok()) << batches.status();
      for (const TokenBatch& batch : *batches) {
        EXPECT_GT(batch.sequences, 0);
        EXPECT_LE(batch.sequences, config.micro_batch_sequences());
        all.sequences += batch.sequences;
        all.tokens.insert(all.tokens.end(), batch.tokens.begin(), batch.tokens.end());
        all.scored.insert(all.scored.end(), batch.scored.begin(), batch.scored.end());
        all.document_begin.insert(all.document_begin.end(), batch.document_begin.begin(), batch.document_begin.end());
      }
    }
    return all;
  }

  const TemporaryFolder folder_;
  std::shared_ptr<const TokenFile> tokens_;
  std::shared_ptr<const Dataset> valid_;
};

TEST_F(ValidationTest, TheUnionIsTheSameForAnyNumberOfRanks) {
  for (const int64_t sequences : {1, 3, 7, 12}) {
    const TokenBatch want = *valid_->Samples(0, sequences);
    for (int ranks = 1; ranks <= 4; ++ranks) {
      for (const int micro : {1, 2, 5}) {
        SCOPED_TRACE(::testing::Message() << sequences << " sequences, " << ranks << " ranks, micro " << micro);
        const TokenBatch all = Union(Config(sequences, micro), ranks);
        EXPECT_EQ(all.sequences, sequences);
        EXPECT_EQ(all.tokens, want.tokens);
        EXPECT_EQ(all.scored, want.scored);
        EXPECT_EQ(all.document_begin, want.document_begin);
      }
    }
  }
}

TEST_F(ValidationTest, ZeroAndTooManyMeanTheWholeSplit) {
  EXPECT_EQ(ValidationSequences(*valid_, Config(0, 1)), valid_->samples());
  EXPECT_EQ(ValidationSequences(*valid_, Config(1'000'000, 1)), valid_->samples());
  EXPECT_EQ(ValidationSequences(*valid_, Config(5, 1)), 5);
  EXPECT_EQ(Union(Config(0, 3), 2).sequences, valid_->samples());
}
// Nothing is held out of the last of three: the others share its part by their weights, 1 to 3.
TEST_F(ValidationTest, SourcesThatHoldNothingOutLeaveTheirShareToTheOthers) {
  const auto blend = *Blend::Create({1, 3, 4}, 1);
  const auto set = OpenValidation({{"a", valid_, 0}, {"b", valid_, 1}}, *blend, Config(8, 1), 0, 1);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->batches[0].size(), 2u);
  EXPECT_EQ(set->batches[1].size(), 6u);
}

// The loss that ranks find together, over a number of sequences that they can't share evenly.
TEST_F(ValidationTest, LossIsTheSameForAnyNumberOfRanks) {
  const RunConfig config = TinyRun(folder_ / "run");
  std::vector<Trainer::Validation> results;
  for (int ranks = 1; ranks <= 4; ++ranks) {
    for (const auto& status : OnTrainingRanks(ranks, config, tokens_, [&](RankRun&run, int rank) -> absl::Status {
           PHOTON_ASSIGN_OR_RETURN(const auto batches, ValidationBatches(*valid_, Config(7, 2), rank, ranks));
           const std::vector<double> before = run.Result().master;
           PHOTON_ASSIGN_OR_RETURN(const Trainer::Validation result, run.trainer().Validate(batches));
           ExpectSameBits(run.Result().master, before, "validation trains nothing");
           if (rank == 0) results.push_back(result);
           return absl::OkStatus();
         })) {
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  for (const Trainer::Validation& result : results) {
    EXPECT_EQ(result.tokens, results[0].tokens);
    // Each token's loss of some 4.1 carries f32 roundings of a few dozen operations; the sums are doubles.
    EXPECT_NEAR(result.loss, results[0].loss, 50 * 0x1p-24 * results[0].loss);
    EXPECT_GT(result.loss, 3);
  }
}

}  // namespace
}  // namespace photon
