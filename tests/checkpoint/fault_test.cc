// Every single change that a save makes to the disk fails once, in every way a disk, a kill or a power cut knows.
#include <gmock/gmock.h>

#include "tests/checkpoint/fixtures.h"
#include "tests/support/faulty_file_system.h"

namespace photon {
namespace {

using namespace photon::testing;
using Fault = FaultyFileSystem::Fault;
using ::testing::AnyOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int kKeep = 2;

// A save of a run: the checkpoint, `latest`, and what is too old goes. The status is the first that failed.
absl::Status SaveStep(FileSystem& files, const std::string& run, int ranks, int64_t step) {
  PartList lists[4];
  const auto tensors = SampleTensors();
  const std::vector<absl::Status> statuses = OnRanks(ranks, [&](Communicator& comm) {
    PartList& list = lists[comm.rank()];
    for (size_t i = 0; i < tensors.size(); ++i) AddShare(list, tensors[i], i, Layout::kRows, comm.rank(), ranks);
    CheckpointContents contents;
    contents.config = SampleConfig();
    contents.state.set_step(step);
    contents.tokenizer_name = "tokenizer.model";
    contents.tokenizer_bytes = SampleTokenizer();
    contents.parts = list.parts;
    return WriteCheckpoint(comm, CheckpointDir(run, step), contents, files);
  });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), statuses[0].code()) << status << " against " << statuses[0];
  }
  if (!statuses[0].ok()) return statuses[0];
  return PublishCheckpoint(run, step, kKeep, files);
}

// What a later start finds: every step folder is whole, and the newest is `step` or, where allowed, an older one.
int64_t NewestWhole(const std::string& run) {
  const std::vector<std::string> dirs = ListCheckpoints(run);
  for (const std::string& dir : dirs) ExpectSample(dir);
  const auto latest = ResolveCheckpoint(run);
  EXPECT_TRUE(latest.ok()) << latest.status();
  if (latest.ok()) ExpectSample(*latest);
  return dirs.empty() ? -1 : CheckpointReader::Open(dirs.front())->manifest().state().step();
}

class Save : public ::testing::TestWithParam<std::tuple<Fault, int, bool>> {};

// Three good saves, so that the fourth has something to remove; it is disturbed at its k-th call, for every k until it
// has no k-th one.
TEST_P(Save, IsWholeOrAbsentWhicheverCallFails) {
  const auto [fault, ranks, replaces] = GetParam();
  int64_t k = 0, failures = 0, kept_old = 0;
  for (bool more = true; more && !HasFailure(); ++k) {
    SCOPED_TRACE(::testing::Message() << "call " << k);
    const TemporaryFolder folder;
    fs::create_directory(folder / "graveyard");
    FaultyFileSystem files(folder / "graveyard");
    const std::string run = folder / "run";
    const int64_t step = replaces ? 3 : 4;
    for (int64_t good = 1; good <= 3; ++good) {
      const absl::Status saved = SaveStep(files, run, ranks, good);
      ASSERT_TRUE(saved.ok()) << saved;
    }
    files.Arm(fault, k);
    const absl::Status status = SaveStep(files, run, ranks, step);
    more = files.hit();
    failures += !status.ok();

    EXPECT_TRUE(more || status.ok()) << status;
    if (!status.ok()) {
      // The call that failed, by file and reason.
      EXPECT_THAT(std::string(status.message()), HasSubstr(run + "/checkpoints"));
      EXPECT_THAT(std::string(status.message()), AnyOf(HasSubstr("No space left"), HasSubstr("Input/output error")));
      EXPECT_EQ(status.code(),
                fault == Fault::kNoSpace || fault == Fault::kDiskFull ? absl::StatusCode::kResourceExhausted
                                                                      : absl::StatusCode::kDataLoss);
    }
    files.Restart();
    const int64_t found = NewestWhole(run);
    EXPECT_THAT(found, AnyOf(3, step));
    if (status.ok()) {
      EXPECT_EQ(found, step) << "said to be saved";
      EXPECT_EQ(*ResolveCheckpoint(run), CheckpointDir(run, step));
    }
    kept_old += found != step;

    // And the run goes on: the next save works, and leaves nothing of the failed one.
    const absl::Status next = SaveStep(files, run, ranks, 5);
    EXPECT_TRUE(next.ok()) << next;
    EXPECT_EQ(NewestWhole(run), 5);
    EXPECT_EQ(ListCheckpoints(run).size(), 2u);
    EXPECT_EQ(FilesIn(run + "/checkpoints").size(), 3u) << "two steps and `latest`";
  }
  // A save of one rank makes 37 changes or more: a number that shrinks to a few would mean calls that go by the interface.
  EXPECT_GT(k, 30);
  printf("%ld calls, %ld of the saves failed, %ld left the old checkpoint\n", k - 1, failures, kept_old);
  EXPECT_TRUE(fault == Fault::kShortWrite ? failures == 0 : failures > 20)
      << failures << "; a short write is no failure";
}

std::string FaultName(const ::testing::TestParamInfo<Save::ParamType>& info) {
  const char* names[] = {"None", "NoSpace", "IoError", "ShortWrite", "Killed", "PowerLoss", "DiskFull"};
  return absl::StrCat(names[static_cast<int>(std::get<0>(info.param))], "On", std::get<1>(info.param), "Ranks",
                      std::get<2>(info.param) ? "Replacing" : "");
}

INSTANTIATE_TEST_SUITE_P(Faults, Save,
                         ::testing::Combine(::testing::Values(Fault::kNoSpace, Fault::kIoError, Fault::kShortWrite,
                                                              Fault::kKilled, Fault::kPowerLoss, Fault::kDiskFull),
                                            ::testing::Values(1, 2), ::testing::Bool()),
                         FaultName);

}  // namespace
}  // namespace photon
