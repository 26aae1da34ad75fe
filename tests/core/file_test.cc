#include "core/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <thread>
#include <vector>

#include "core/folder.h"
#include "tests/support/child_process.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::InChild;
using ::testing::IsEmpty;
using testing::LimitFileSize;
using testing::TemporaryFolder;
using ::testing::UnorderedElementsAre;

TEST(FileError, CodesSayWhatToDo) {
  const auto code = [](int error) { return FileError(error, "cannot write", "/x/y").code(); };
  EXPECT_EQ(code(ENOENT), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(ENOTDIR), absl::StatusCode::kNotFound);
  for (const int full : {ENOSPC, EDQUOT, EFBIG}) EXPECT_EQ(code(full), absl::StatusCode::kResourceExhausted);
  for (const int denied : {EACCES, EPERM, EROFS}) EXPECT_EQ(code(denied), absl::StatusCode::kPermissionDenied);
  for (const int wrong : {EISDIR, ELOOP, ENAMETOOLONG}) EXPECT_EQ(code(wrong), absl::StatusCode::kInvalidArgument);
  for (const int trouble : {EIO, EMFILE}) EXPECT_EQ(code(trouble), absl::StatusCode::kDataLoss);
  EXPECT_EQ(FileError(ENOENT, "tokenizer", "t.model").message(), "tokenizer t.model: No such file or directory");
  EXPECT_EQ(FileError(ENOSPC, "cannot write", "/x/y").message(),
            "cannot write /x/y: No space left on device; free some space there");
  EXPECT_EQ(FileError(ENOENT, "cannot write", "x/y/z").message(),
            "cannot write x/y/z: No such file or directory; make the folder first: mkdir -p x/y");
  EXPECT_THAT(FileError(EACCES, "cannot write", "x/y").message(), HasSubstr("choose another place, or get the right"));
  EXPECT_THAT(FileError(EACCES, "cannot create", "x/y").message(), HasSubstr("get the right to write in x"));
  EXPECT_THAT(FileError(EACCES, "tokenizer", "x/y").message(), HasSubstr("get the right to read it"));
  EXPECT_THAT(FileError(EROFS, "cannot write", "x/y").message(), HasSubstr("read-only: choose another place"));
}

TEST(ReadFile, GivesAllBytes) {
  TemporaryFolder folder;
  for (const size_t size : {0, 1, 4096, 65536, 3000000}) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
    EXPECT_EQ(*ReadFile(folder.Write("f", bytes)), bytes) << size;
  }
}

TEST(ReadFile, ReadsWhatHasNoSize) {
  TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  const std::string bytes(300000, 'p');  // more than a pipe holds at once
  std::thread writer([&] { std::ofstream(folder / "pipe") << bytes; });
  EXPECT_EQ(*ReadFile(folder / "pipe"), bytes);
  writer.join();
  EXPECT_THAT(*ReadFile("/proc/self/status"), HasSubstr("Pid:"));
}

TEST(ReadFile, FailuresNameTheFile) {
  TemporaryFolder folder;
  const auto missing = ReadFile(folder / "none", "tokenizer");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(missing.status().message(), "tokenizer " + (folder / "none") + ": No such file or directory");
  EXPECT_EQ(ReadFile(folder.path()).status().code(), absl::StatusCode::kInvalidArgument);
  const std::string secret = folder.Write("secret", "s");
  chmod(secret.c_str(), 0);
  chmod(folder.path().c_str(), 0755);
  EXPECT_EQ(InChild([&] {
              if (geteuid() == 0 && seteuid(65534) != 0) return 3;  // root may read anything
              return ReadFile(secret).status().code() == absl::StatusCode::kPermissionDenied ? 0 : 2;
            }),
            0);
}

TEST(WriteFile, ReplacesAsAWhole) {
  TemporaryFolder folder;
  ASSERT_TRUE(WriteFile(folder / "f", "a longer first version").ok());
  ASSERT_TRUE(WriteFile(folder / "f", "second").ok());
  EXPECT_EQ(folder.Read("f"), "second");
  ASSERT_TRUE(WriteFile(folder / "f", "").ok());
  EXPECT_EQ(folder.Read("f"), "");
  EXPECT_THAT(folder.Names(), ElementsAre("f"));
}

TEST(WriteFile, FailuresNameThePlace) {
  TemporaryFolder folder;
  const absl::Status absent = WriteFile(folder / "no/f", "x");
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(absent.message()), HasSubstr(folder / "no/f"));
  std::filesystem::create_directory(folder / "taken");
  const absl::Status taken = WriteFile(folder / "taken", "x");
  EXPECT_EQ(taken.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(taken.message()), HasSubstr(folder / "taken"));
  EXPECT_THAT(folder.Names(), ElementsAre("taken")) << "no temporary file stays";
}

TEST(WriteFile, AFullDiskLeavesTheOldFile) {
  TemporaryFolder folder;
  folder.Write("f", "old");
  for (const size_t size : {2000, 3000000}) {  // through the buffer, and past it
    EXPECT_EQ(InChild([&] {
                LimitFileSize(1000);
                const absl::Status status = WriteFile(folder / "f", std::string(size, 'x'));
                if (status.code() != absl::StatusCode::kResourceExhausted) return 2;
                return status.message().find("/f.tmp: ") == absl::string_view::npos ? 3 : 0;
              }),
              0);
    EXPECT_EQ(folder.Read("f"), "old");
    EXPECT_THAT(folder.Names(), ElementsAre("f"));
  }
}

TEST(OutputFile, KeepsTheOrderOfSmallAndLargeWritesAndReadsThemBack) {
  TemporaryFolder folder;
  auto file = OutputFile::Create(folder / "f");
  ASSERT_TRUE(file.ok());
  std::string all;
  for (const size_t size : {3, 1 << 20, 5, 700000, 700000, (3 << 20) + 1, 0, 1}) {
    const std::string bytes(size, static_cast<char>('a' + all.size() % 23));
    all += bytes;
    ASSERT_TRUE(file->Write(bytes).ok());
  }
  std::string back;
  ASSERT_TRUE(file->ForEachPiece([&](absl::string_view piece) {
                    EXPECT_EQ(back.size() % (1 << 20), 0u) << "a piece that is not the last is 1 MiB";
                    back.append(piece.data(), piece.size());
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_TRUE(back == all);
  ASSERT_TRUE(file->Write("end").ok());  // reading back does not move where writing goes on
  EXPECT_FALSE(std::filesystem::exists(folder / "f")) << "not before Publish";
  ASSERT_TRUE(file->Publish().ok());
  EXPECT_TRUE(folder.Read("f") == all + "end");
}

TEST(OutputFile, WithoutPublishNothingChanges) {
  TemporaryFolder folder;
  folder.Write("f", "old");
  {
    auto file = OutputFile::Create(folder / "f");
    ASSERT_TRUE(file->Write("new").ok());
    ASSERT_TRUE(file->Sync().ok());
    OutputFile moved = *std::move(file);
    EXPECT_THAT(folder.Names(), UnorderedElementsAre("f", "f.tmp"));
  }
  EXPECT_EQ(folder.Read("f"), "old");
  EXPECT_THAT(folder.Names(), ElementsAre("f"));
}

TEST(OutputFile, RefusesASecondWriterAndOverwritesWhatAKilledOneLeft) {
  TemporaryFolder folder;
  folder.Write("f.tmp", "left by a killed run, longer than what follows");
  auto first = OutputFile::Create(folder / "f");
  ASSERT_TRUE(first.ok());
  const absl::Status second = OutputFile::Create(folder / "f").status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.message()), AllOf(HasSubstr(folder / "f"), HasSubstr("another program")));
  ASSERT_TRUE(first->Write("whole").ok());
  ASSERT_TRUE(first->Publish().ok());
  EXPECT_EQ(folder.Read("f"), "whole");
}

// A writer may open the temporary file just before its owner publishes or removes it, and get its lock just after. What
// it then holds is no longer the temporary file: taking it for that would empty the published one.
TEST(OutputFile, RacingWritersHoldTheTemporaryFile) {
  TemporaryFolder folder;
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      for (int round = 0; round < 10000; ++round) {
        const auto file = OutputFile::Create(folder / "f");
        if (file.ok()) {
          ASSERT_TRUE(std::filesystem::exists(folder / "f.tmp")) << round;
        }
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_THAT(folder.Names(), IsEmpty());
}

TEST(RemoveFile, AbsentIsFineAndFoldersStay) {
  TemporaryFolder folder;
  EXPECT_TRUE(RemoveFile(folder.Write("f", "x")).ok());
  EXPECT_TRUE(RemoveFile(folder / "f").ok());
  EXPECT_THAT(folder.Names(), IsEmpty());
  EXPECT_FALSE(RemoveFile(folder.path()).ok());
}

TEST(ParentFolder, OfBareNamesIsHere) {
  EXPECT_EQ(ParentFolder("a/b"), "a");
  EXPECT_EQ(ParentFolder("/b"), "/");
  EXPECT_EQ(ParentFolder("b"), ".");
}

TEST(CommitFolder, AppearsAndReplaces) {
  TemporaryFolder folder;
  const auto make = [&](const std::string& name, const std::string& bytes) {
    std::filesystem::create_directory(folder / name);
    folder.Write(name + "/f", bytes);
  };
  make("x.tmp", "first");
  ASSERT_TRUE(CommitFolder(folder / "x.tmp", folder / "x").ok());
  EXPECT_EQ(folder.Read("x/f"), "first");
  make("x.tmp", "second");
  ASSERT_TRUE(CommitFolder(folder / "x.tmp", folder / "x").ok());
  EXPECT_EQ(folder.Read("x/f"), "second");
  EXPECT_THAT(folder.Names(), ElementsAre("x"));
  EXPECT_EQ(CommitFolder(folder / "none", folder / "x").code(), absl::StatusCode::kNotFound);
  make("x.tmp", "third");
  folder.Write("file", "in the way");
  const absl::Status refused = CommitFolder(folder / "x.tmp", folder / "file");
  EXPECT_THAT(std::string(refused.message()), HasSubstr(folder / "file"));
  EXPECT_EQ(folder.Read("file"), "in the way");
  ASSERT_TRUE(RemoveTree(folder / "x").ok());
  ASSERT_TRUE(RemoveTree(folder / "x").ok());
  EXPECT_THAT(folder.Names(), UnorderedElementsAre("x.tmp", "file"));
}

}  // namespace
}  // namespace photon
