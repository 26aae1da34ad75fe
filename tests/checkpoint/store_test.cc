// Round trips over every pairing of writers and readers, and what may not be written.
#include "checkpoint/store.h"

#include <gmock/gmock.h>

#include "tests/checkpoint/fixtures.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::Combine;
using ::testing::HasSubstr;
using ::testing::Values;

class RoundTrip : public ::testing::TestWithParam<std::tuple<int, Layout>> {};

TEST_P(RoundTrip, EveryRegionReadsBack) {
  const auto [ranks, layout] = GetParam();
  TemporaryFolder folder;
  const std::string dir = folder / "run/checkpoints/step-00000001";
  WriteSample(dir, ranks, layout, 7);
  ExpectSample(dir);
  const auto reader = CheckpointReader::Open(dir);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->manifest().state().step(), 7);
  EXPECT_EQ(reader->manifest().state().grad_norm_mean(), 0.1);  // to the last bit
  EXPECT_EQ(reader->manifest().config().model().vocab_size(), 13);
  EXPECT_EQ(*reader->ReadTokenizer(), SampleTokenizer());
  EXPECT_FALSE(std::filesystem::exists(dir + ".tmp"));
  // Every box of a matrix and of the cube's middle plane, empty ones included.
  const SampleTensor matrix = SampleTensors()[0], cube = SampleTensors()[3];
  for (int64_t r0 = 0; r0 <= 7; r0 += 2) {
    for (int64_t c0 = 0; c0 <= 5; ++c0) {
      ExpectRegion(*reader, matrix, Region{{r0, c0}, Shape{7 - r0, 5 - c0}});
      ExpectRegion(*reader, matrix, Region{{0, 0}, Shape{r0, c0}});
      if (c0 < 5) ExpectRegion(*reader, cube, Region{{1, 1, c0}, Shape{2, 2, 5 - c0}});
    }
  }
}

TEST_P(RoundTrip, RanksVerifyTogether) {
  const auto [ranks, layout] = GetParam();
  TemporaryFolder folder;
  const std::string dir = folder / "step-00000001";
  WriteSample(dir, ranks, layout);
  for (int readers : {1, 2, 5}) {
    for (const absl::Status& status : OnRanks(readers, [&](Communicator& comm) {
           const auto reader = CheckpointReader::Open(dir);
           PHOTON_RETURN_IF_ERROR(reader.status());
           return reader->Verify(comm, "model");
         })) {
      EXPECT_TRUE(status.ok()) << status;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RoundTrip,
                         Combine(Values(1, 2, 3),
                                 Values(Layout::kRows, Layout::kColumns, Layout::kFlat, Layout::kWholeByTurns)));

TEST(Store, ReplacesACheckpointOfTheSameStep) {
  TemporaryFolder folder;
  const std::string dir = folder / "step-00000001";
  WriteSample(dir, 3, Layout::kRows, 1);
  WriteSample(dir, 2, Layout::kColumns, 2);
  ExpectSample(dir);
  EXPECT_EQ(CheckpointReader::Open(dir)->manifest().state().step(), 2);
  EXPECT_FALSE(std::filesystem::exists(dir + "/model-00000-of-00003.h5"));
  EXPECT_EQ(FilesIn(folder.path()), std::vector<std::string>{"step-00000001"});
}

TEST(Store, NeverReplacesAnythingElse) {
  TemporaryFolder folder;
  const std::string dir = folder / "precious";
  std::filesystem::create_directory(dir);
  Spill(dir + "/thesis.tex", "text");
  const absl::Status status = WriteSample(*SelfCommunicator(), dir, Layout::kRows, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Slurp(dir + "/thesis.tex"), "text");
}

TEST(Store, RemovesAStaleTemporaryFolder) {
  TemporaryFolder folder;
  const std::string dir = folder / "step-00000001";
  std::filesystem::create_directory(dir + ".tmp");
  Spill(dir + ".tmp/model-00000-of-00001.h5", "half");
  WriteSample(dir);
  ExpectSample(dir);
}

// Two ranks that each hold the parts given; the same refusal must reach both, and nothing the disk.
void ExpectRefused(const std::vector<std::vector<Region>>& by_rank, DType dtype, const std::string& message) {
  TemporaryFolder folder;
  const std::string dir = folder / "step-00000001";
  const SampleTensor tensor{"model", "weight", Shape{4, 6}, dtype};
  const auto statuses = OnRanks(by_rank.size(), [&](Communicator& comm) {
    PartList list;
    for (const Region& region : by_rank[comm.rank()]) list.Add(tensor, region);
    CheckpointContents contents;
    contents.parts = list.parts;
    return WriteCheckpoint(comm, dir, contents);
  });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_THAT(std::string(status.message()), HasSubstr("weight"));
  }
  EXPECT_TRUE(FilesIn(folder.path()).empty());
}

TEST(Store, PartsMustCoverExactlyOnce) {
  const Region top{{0, 0}, Shape{2, 6}}, bottom{{2, 0}, Shape{2, 6}}, all{{0, 0}, Shape{4, 6}};
  ExpectRefused({{top}, {}}, DType::kF32, "12 of 24");                            // a hole
  ExpectRefused({{all}, {bottom}}, DType::kF32, "overlap");                       // twice
  ExpectRefused({{top}, {Region{{1, 0}, Shape{2, 6}}}}, DType::kF32, "overlap");  // right count, wrong place
  ExpectRefused({{top}, {Region{{3, 0}, Shape{2, 6}}}}, DType::kF32, "outside");  // beyond the end
  ExpectRefused({{top, Region{{2, 3}, Shape{2, 3}}}, {Region{{2, 0}, Shape{2, 2}}}}, DType::kF32, "22 of 24");
}

TEST(Store, RefusesOtherTypesAndRanksThatDisagree) {
  ExpectRefused({{Region{{0, 0}, Shape{4, 6}}}}, DType::kU16, "u16");
  TemporaryFolder folder;
  const auto statuses = OnRanks(2, [&](Communicator& comm) {
    PartList list;
    list.Add({"model", "weight", Shape{4, 6}, comm.rank() == 0 ? DType::kF32 : DType::kF64},
             Region{{2 * comm.rank(), 0}, Shape{2, 6}});
    CheckpointContents contents;
    contents.parts = list.parts;
    return WriteCheckpoint(comm, folder / "step-00000001", contents);
  });
  for (const absl::Status& status : statuses) EXPECT_THAT(std::string(status.message()), HasSubstr("disagree"));
}

TEST(Store, BadRequestsNameTheTensor) {
  TemporaryFolder folder;
  const std::string dir = folder / "step-00000001";
  WriteSample(dir);
  const auto reader = CheckpointReader::Open(dir);
  ASSERT_TRUE(reader.ok());
  std::vector<double> memory(100);
  const auto read = [&](const std::string& name, const Region& region, Shape shape, DType dtype) {
    return reader->Read(name, region, Tensor::Wrap(memory.data(), shape, dtype));
  };
  EXPECT_EQ(read("nope", Region{{0}, Shape{1}}, Shape{1}, DType::kF32).code(), absl::StatusCode::kNotFound);
  for (const absl::Status& status : {read("lm_head.weight", Region{{0, 0}, Shape{14, 3}}, Shape{14, 3}, DType::kF32),
                                     read("lm_head.weight", Region{{12, 0}, Shape{2, 3}}, Shape{2, 3}, DType::kF32),
                                     read("lm_head.weight", Region{{-1, 0}, Shape{2, 3}}, Shape{2, 3}, DType::kF32),
                                     read("lm_head.weight", Region{{0}, Shape{3}}, Shape{3}, DType::kF32),
                                     read("lm_head.weight", Region{{0, 0}, Shape{2, 3}}, Shape{2, 3}, DType::kF64),
                                     read("lm_head.weight", Region{{0, 0}, Shape{2, 3}}, Shape{3, 2}, DType::kF32)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("lm_head.weight"));
  }
}

TEST(Store, MovedFolderReadsAsBefore) {
  TemporaryFolder folder;
  WriteSample(folder / "a", 3, Layout::kColumns);
  std::filesystem::create_directory(folder / "elsewhere");
  std::filesystem::rename(folder / "a", folder / "elsewhere/b");
  ExpectSample(folder / "elsewhere/b");
}

}  // namespace
}  // namespace photon
