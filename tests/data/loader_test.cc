#include "data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "data/dataset.h"
#include "tests/data/temporary.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::WriteDocuments;

class LoaderTest : public ::testing::Test {
 protected:
  LoaderTest() {
    std::vector<int32_t> document(900);
    std::iota(document.begin(), document.end(), 0);
    auto dataset = Dataset::Create(WriteDocuments(folder_ / "x", {document}), {0, 1}, options_);
    dataset_ = *dataset;
  }

  TemporaryFolder folder_;
  const DatasetOptions options_{
      .sequence_length = 8, .align = 4, .document_mask = true, .seed = 1, .vocab_size = 1000, .padding = 0};
  std::shared_ptr<const Dataset> dataset_;
};

std::vector<int32_t> Tokens(const StepData& data) {
  std::vector<int32_t> tokens;
  for (const TokenBatch& batch : data.microbatches)
    tokens.insert(tokens.end(), batch.tokens.begin(), batch.tokens.end());
  return tokens;
}

TEST_F(LoaderTest, GivesTheDatasetsBatchesInOrder) {
  auto loader = Loader::Create(dataset_, {.batch_sequences = 12, .micro_batch_sequences = 2, .rank = 1, .ranks = 3});
  ASSERT_TRUE(loader.ok()) << loader.status();
  for (int64_t step = 0; step < 40; ++step) {
    const auto data = (*loader)->Next();
    ASSERT_TRUE(data.ok()) << data.status();
    EXPECT_EQ(data->step, step);
    ASSERT_EQ(data->microbatches.size(), 2u);
    EXPECT_EQ(data->microbatches[0].sequences, 2);
    EXPECT_EQ(Tokens(*data), dataset_->Batch(step, 12, 4, 4)->tokens);
  }
}

// Whatever the layout: among which ranks (of dp; the other axes' ranks read what their dp rank does) and in how many
// passes.
TEST_F(LoaderTest, AStepHasTheSameIdsHoweverItIsShared) {
  for (const int64_t ranks : {1, 2, 3, 4, 6, 12}) {
    for (int64_t micro = 1; micro <= 12 / ranks; ++micro) {
      if (12 / ranks % micro != 0) continue;
      std::vector<std::unique_ptr<Loader>> loaders;
      for (int64_t r = 0; r < ranks; ++r) {
        loaders.push_back(*Loader::Create(
            dataset_, {.batch_sequences = 12, .micro_batch_sequences = micro, .rank = r, .ranks = ranks}));
      }
      for (int64_t step = 0; step < 20; ++step) {
        std::vector<int32_t> ids;
        for (const auto& loader : loaders) {
          const std::vector<int32_t> share = Tokens(*loader->Next());
          ids.insert(ids.end(), share.begin(), share.end());
        }
        EXPECT_EQ(ids, dataset_->Batch(step, 12, 0, 12)->tokens) << ranks << " ranks, " << micro << " at a time";
      }
    }
  }
}

TEST_F(LoaderTest, SeekGoesAnywhereAtAnyMoment) {
  auto loader = Loader::Create(dataset_, {.batch_sequences = 4, .steps_ahead = 3});
  for (int64_t step : {0, 5, 1000000, 2, 2, 77}) {
    (*loader)->Seek(step);
    for (int64_t s = step; s < step + 3; ++s) {
      const auto data = (*loader)->Next();
      ASSERT_TRUE(data.ok());
      EXPECT_EQ(data->step, s);
      EXPECT_EQ(Tokens(*data), dataset_->Batch(s, 4, 0, 4)->tokens);
    }
  }
}

TEST_F(LoaderTest, StopsWhileAhead) {
  for (int i = 0; i < 50; ++i) {
    auto loader = Loader::Create(dataset_, {.batch_sequences = 4});
    if (i % 2 == 1) {
      EXPECT_TRUE((*loader)->Next().ok());
    }
  }
}

TEST_F(LoaderTest, SharesThatDontComeOutEvenAreRefused) {
  EXPECT_THAT(Loader::Create(dataset_, {.batch_sequences = 10, .ranks = 3}).status().message(),
              HasSubstr("10 can't be shared evenly by 3"));
  EXPECT_THAT(
      Loader::Create(dataset_, {.batch_sequences = 8, .micro_batch_sequences = 3, .ranks = 2}).status().message(),
      HasSubstr("micro_batch_sequences 3"));
  EXPECT_FALSE(Loader::Create(dataset_, {.batch_sequences = 0}).ok());
}

TEST_F(LoaderTest, AnErrorStays) {
  DatasetOptions small = options_;
  small.vocab_size = 10;
  const auto dataset = Dataset::Create(*TokenFile::Open(folder_ / "x"), {0, 1}, small);
  auto loader = Loader::Create(*dataset, {.batch_sequences = 4});
  EXPECT_THAT((*loader)->Next().status().message(), HasSubstr("vocabulary has 10"));
  EXPECT_THAT((*loader)->Next().status().message(), HasSubstr("vocabulary has 10"));
}

TEST_F(LoaderTest, ABatchTooLargeForMemoryIsAnError) {
  DatasetOptions huge = options_;
  huge.sequence_length = int64_t{1} << 62;  // more than a vector can hold
  const auto dataset = Dataset::Create(*TokenFile::Open(folder_ / "x"), {0, 1}, huge);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  auto loader = Loader::Create(*dataset, {.batch_sequences = 1});
  const absl::Status status = (*loader)->Next().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("step 0"));
}

// A token file that others change while it is read: an error that names it, never SIGBUS.
TEST_F(LoaderTest, AFileThatChangesIsAnError) {
  for (const char* how : {"truncated", "grown", "replaced", "removed", "rewritten"}) {
    SCOPED_TRACE(how);
    std::vector<int32_t> document(90000, 3);
    const auto file = WriteDocuments(folder_ / "y", {document});
    const auto dataset = Dataset::Create(file, {0, 1}, options_);
    auto loader = Loader::Create(*dataset, {.batch_sequences = 4, .steps_ahead = 1});
    ASSERT_TRUE((*loader)->Next().ok());
    const std::string bin = folder_ / "y.bin";
    if (how == std::string("truncated") || how == std::string("grown")) {
      ASSERT_EQ(truncate(bin.c_str(), how == std::string("grown") ? 1 << 20 : 100), 0);
    }
    if (how == std::string("replaced")) WriteDocuments(folder_ / "y", {document});
    if (how == std::string("removed")) std::filesystem::remove(bin);
    if (how == std::string("rewritten")) {
      std::fstream(bin, std::ios::in | std::ios::out | std::ios::binary) << "abcd";
      std::filesystem::last_write_time(bin, std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
    }
    absl::Status status;
    for (int i = 0; i < 3 && status.ok(); ++i) status = (*loader)->Next().status();  // some were prepared before
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(status.message(), HasSubstr("changed while it was read"));
    EXPECT_THAT(status.message(), HasSubstr(folder_ / "y."));
    EXPECT_FALSE((*loader)->Next().ok()) << "and stays one";
  }
}

// The check before a batch can't see what happens after it.
TEST_F(LoaderTest, AFileTruncatedBetweenCheckAndReadIsAnErrorToo) {
  const auto file = WriteDocuments(folder_ / "y", {std::vector<int32_t>(90000, 3)});
  const auto dataset = *Dataset::Create(file, {0, 1}, options_);
  ASSERT_EQ(truncate((folder_ / "y.bin").c_str(), 0), 0);
  const absl::Status status = dataset->Batch(0, 4, 0, 4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              HasSubstr("y.bin changed while it was read: it had 180000 bytes, and ends before byte"));
}

}  // namespace
}  // namespace photon
