// The last step of `photon prepare`, in which files get their names, is interrupted at every single change that it
// makes, with and without older files of the same names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/prepare.h"
#include "data/token_file.h"
#include "data/tokenizer.h"
#include "data/train_tokenizer.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

namespace fs = std::filesystem;
using Fault = testing::FaultyFileSystem::Fault;
using Files = std::map<std::string, std::string>;  // name, bytes

// What stands under the names of PREFIX before: nothing, a set of one file, a set by source.
enum class Older { kNone, kWhole, kSplit };

class Publishing : public ::testing::TestWithParam<std::tuple<Fault, Older, bool>> {
 protected:
  Publishing() : files_(Folder("graveyard")) {
    std::string text, lines, others;
    for (int i = 0; i < 400; ++i) text += "the quick brown fox jumps over the lazy dog and runs home\n";
    options_.tokenizer = folder_.Write("t.model", *TrainTokenizer({.files = {folder_.Write("train.txt", text)}}, 300));
    for (int i = 0; i < 20; ++i) {
      const char* source = i % 2 == 0 ? "A" : "B";
      lines += absl::StrCat("{\"text\": \"the fox ", i, "\", \"meta\": {\"pile_set_name\": \"", source, "\"}}\n");
      others += absl::StrCat("{\"text\": \"a lazy dog ", i, "\", \"meta\": {\"pile_set_name\": \"", source, "\"}}\n");
    }
    older_input_ = folder_.Write("older.jsonl", others + "{]\n");
    options_.inputs = {folder_.Write("new.jsonl", lines)};
    options_.out = Folder("out") + "/x";
    options_.on_error = OnError::kSkip;
    options_.progress = false;
    options_.threads = 1;
  }
  std::string Folder(const std::string& name) const {
    fs::create_directory(folder_ / name);
    return folder_ / name;
  }
  Files Outputs() const {
    Files files;
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
      if (entry.is_regular_file())
        files[entry.path().filename()] = folder_.Read("out/" + entry.path().filename().string());
    }
    return files;
  }
  // The folder of outputs as it was when publishing began.
  void Restore() const {
    fs::remove_all(folder_ / "out");
    fs::copy(folder_ / "saved", folder_ / "out", fs::copy_options::recursive);
  }
  // An index that is there belongs to the ids beside it: those of before, or the new ones.
  void ExpectWhole(const Files& before, const Files& after) const {
    const Files now = Outputs();
    for (const auto& [name, bytes] : now) {
      if (!absl::EndsWith(name, ".idx")) continue;
      const std::string ids = name.substr(0, name.size() - 4) + ".bin";
      const auto pair_of = [&](const Files& files) {
        return files.contains(name) && files.contains(ids) ? files.at(name) + "/" + files.at(ids) : "";
      };
      EXPECT_THAT(pair_of(now), ::testing::AnyOf(pair_of(before), pair_of(after))) << name;
      EXPECT_NE(pair_of(now), "") << name << " without its ids";
      EXPECT_TRUE(TokenFile::Open(folder_ / ("out/" + name.substr(0, name.size() - 4))).ok()) << name;
    }
  }

  testing::TemporaryFolder folder_;
  testing::FaultyFileSystem files_;
  PrepareOptions options_;
  std::string older_input_;
};

TEST_P(Publishing, TheSameCallEndsItWhereverItStopped) {
  const auto [fault, older, split] = GetParam();
  options_.split_by_source = split;
  ASSERT_TRUE(Prepare(options_).ok());
  const Files after = Outputs();
  fs::remove_all(folder_ / "out");
  Folder("out");
  if (older != Older::kNone) {
    PrepareOptions before = options_;
    before.inputs = {older_input_};
    before.split_by_source = older == Older::kSplit;
    ASSERT_TRUE(Prepare(before).ok());
    ASSERT_TRUE(Outputs().contains("x.rejects.jsonl"));
    folder_.Write("out/x.tokenizer.json", "{}");  // of a third call, with a tokenizer of the other kind
  }
  const Files before = Outputs();
  files_.Arm(Fault::kKilled, 0);
  options_.fresh = true;
  ASSERT_FALSE(Prepare(options_, files_).ok());
  options_.fresh = false;
  fs::rename(folder_ / "out", folder_ / "saved");

  int64_t k = 0;
  for (bool more = true; more && !HasFailure(); ++k) {
    SCOPED_TRACE(::testing::Message() << "call " << k);
    Restore();
    files_.Arm(fault, k);
    const absl::Status status = Prepare(options_, files_).status();
    more = files_.hit();
    EXPECT_EQ(status.ok(), !more) << status;
    files_.Restart();
    ExpectWhole(before, after);
    const absl::Status again = Prepare(options_, files_).status();
    ASSERT_TRUE(again.ok()) << again;
    EXPECT_TRUE(Outputs() == after) << "also no part of the older set stays";
    EXPECT_FALSE(fs::exists(options_.out + ".partial"));
  }
  EXPECT_GT(k, 10) << "changes that go by the interface";
}

INSTANTIATE_TEST_SUITE_P(Faults, Publishing,
                         ::testing::Combine(::testing::Values(Fault::kNoSpace, Fault::kKilled, Fault::kPowerLoss),
                                            ::testing::Values(Older::kNone, Older::kWhole, Older::kSplit),
                                            ::testing::Bool()),
                         [](const auto& info) {
                           const Fault fault = std::get<0>(info.param);
                           const Older older = std::get<1>(info.param);
                           return absl::StrCat(fault == Fault::kKilled      ? "Killed"
                                               : fault == Fault::kPowerLoss ? "PowerLoss"
                                                                            : "NoSpace",
                                               older == Older::kNone    ? "OverNothing"
                                               : older == Older::kWhole ? "OverOneFile"
                                                                        : "OverSources",
                                               std::get<2>(info.param) ? "BySource" : "");
                         });

}  // namespace
}  // namespace photon
