// Whatever happens to the files of a checkpoint is noticed, named, and answered with a remedy.
#include <gmock/gmock.h>

#include "checkpoint/inspect.h"
#include "tests/checkpoint/fixtures.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::AllOf;
using ::testing::HasSubstr;

// What a program meets that opens the checkpoint, checks it all and reads the tokenizer.
absl::Status Load(const std::string& dir, int ranks) {
  const auto statuses = OnRanks(ranks, [&](Communicator& comm) {
    const auto reader = CheckpointReader::Open(dir);
    PHOTON_RETURN_IF_ERROR(AgreeOn(comm, "open", reader.status()));
    return reader->Verify(comm, "");
  });
  for (const absl::Status& status : statuses) {  // other ranks' messages end in the failing rank
    EXPECT_EQ(status.code(), statuses[0].code());
  }
  return statuses[0];
}

TEST(Damage, EveryFlippedByteIsFound) {
  TemporaryFolder folder;
  const std::string dir = folder / "checkpoints/step-00000002";
  WriteSample(folder / "checkpoints/step-00000001");
  WriteSample(dir, 2);
  int flips = 0;
  for (const std::string& name : FilesIn(dir)) {
    const std::string path = dir + "/" + name, good = Slurp(path);
    // Every byte of small files and of each file's head and tail, else a spread of positions.
    const size_t stride = std::max<size_t>(1, good.size() / 60);
    for (size_t at = 0; at < good.size(); at += (at < 40 || at + 40 > good.size()) ? 1 : stride) {
      std::string bad = good;
      bad[at] ^= 1 << (at % 8);
      Spill(path, bad);
      const absl::Status status = Load(dir, 1 + at % 2);
      ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << name << " byte " << at << ": " << status;
      ASSERT_THAT(std::string(status.message()),
                  AllOf(HasSubstr(name), HasSubstr("checksum"), HasSubstr("use an older checkpoint of the run"),
                        HasSubstr("step-00000001")));
      ++flips;
    }
    Spill(path, good);
  }
  EXPECT_GT(flips, 500);
  ExpectSample(dir);
}

TEST(Damage, TruncatedGrownAndMissingFiles) {
  TemporaryFolder folder;
  const std::string dir = folder / "step-00000002";
  WriteSample(dir, 2);
  for (const std::string& name : FilesIn(dir)) {
    const std::string path = dir + "/" + name, good = Slurp(path);
    for (const std::string& bad : {std::string(), good.substr(0, 1), good.substr(0, good.size() / 2),
                                   good.substr(0, good.size() - 1), good + "x"}) {
      Spill(path, bad);
      const absl::Status status = Load(dir, 2);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name << ": " << status;
      EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(name), HasSubstr("checkpoint of the run")));
    }
    std::filesystem::remove(path);
    const absl::Status status = Load(dir, 2);
    EXPECT_EQ(status.code(), name == "manifest.textproto" ? absl::StatusCode::kNotFound : absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    Spill(path, good);
  }
  ExpectSample(dir);
}

TEST(Damage, ReadingDamagedFilesFailsCleanly) {
  TemporaryFolder folder;
  const std::string dir = folder / "step-00000002";
  WriteSample(dir);
  const auto reader = CheckpointReader::Open(dir);
  ASSERT_TRUE(reader.ok());
  const std::string path = dir + "/model-00000-of-00001.h5", good = Slurp(path);
  float memory[39];
  const auto read = [&] {
    return reader->Read("lm_head.weight", Region{{0, 0}, Shape{13, 3}},
                        Tensor::Wrap(memory, Shape{13, 3}, DType::kF32));
  };
  for (const std::string& bad : {std::string(), std::string("no HDF5"), good.substr(0, 300)}) {
    Spill(path, bad);
    EXPECT_EQ(read().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(read().message()), HasSubstr(path));
  }
  // Metadata carry checksums of HDF5's own (format 1.10): a damaged header is an error, never another tensor's data.
  for (size_t at = 0; at < 48; ++at) {
    std::string bad = good;
    bad[at] ^= 0x10;
    Spill(path, bad);
    EXPECT_EQ(read().code(), absl::StatusCode::kDataLoss) << at;
  }
  std::filesystem::remove(path);
  EXPECT_EQ(read().code(), absl::StatusCode::kDataLoss);
  Spill(path, good);
  EXPECT_TRUE(read().ok());
}

TEST(Damage, TokenizerIsCheckedOnReading) {
  TemporaryFolder folder;
  const std::string dir = folder / "step-00000002";
  WriteSample(dir);
  Spill(dir + "/tokenizer.model", "another");
  const auto bytes = CheckpointReader::Open(dir)->ReadTokenizer();
  EXPECT_EQ(bytes.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(bytes.status().message()), AllOf(HasSubstr("tokenizer.model"), HasSubstr("checksum")));
}

TEST(Damage, AbsentFolders) {
  TemporaryFolder folder;
  EXPECT_EQ(CheckpointReader::Open(folder / "none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CheckpointReader::Open(folder.path()).status().code(), absl::StatusCode::kNotFound);
}

TEST(Inspect, TellsWhatIsThereAndWhatIsBad) {
  TemporaryFolder folder;
  const std::string dir = folder / "step-00000002";
  WriteSample(dir, 2, Layout::kRows, 1234567);
  const auto text = InspectCheckpoint(dir, InspectFormat::kText);
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text, AllOf(HasSubstr("1,234,567"), HasSubstr("tokenizer.model"), HasSubstr("cube"),
                           HasSubstr("[3, 4, 5]"), HasSubstr("2 shards"), HasSubstr("optimizer-00001-of-00002.h5")));
  const auto parameters = 7 * 5 + 13 * 3 + 11 + 3 * 4 * 5;
  const auto json = InspectCheckpoint(dir, InspectFormat::kJson);
  ASSERT_TRUE(json.ok());
  EXPECT_THAT(*json, HasSubstr("\"parameters\": " + std::to_string(parameters)));
  EXPECT_TRUE(VerifyCheckpoint(dir).status.ok());
  Spill(dir + "/index.h5", "x");
  const VerifyReport report = VerifyCheckpoint(dir);
  EXPECT_FALSE(report.status.ok());
  EXPECT_THAT(report.text, AllOf(HasSubstr("BAD  index.h5"), HasSubstr("ok   model-00000-of-00002.h5")));
}

}  // namespace
}  // namespace photon
