#include "inference/loaded_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "inference/score.h"
#include "tests/support/models.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

class LoadedModelTest : public ::testing::Test {
 protected:
  CheckpointContents ContentsOf(const LanguageModel& model) {
    CheckpointContents contents;
    *contents.config.mutable_model() = model.config();
    for (const auto& p : model.parameters().parameters()) {
      contents.parts.push_back({"model", p->spec.name, p->spec.shape, p->local, p->master});
    }
    return contents;
  }
  void Write(const CheckpointContents& contents) {
    const std::unique_ptr<Communicator> self = SelfCommunicator();
    const absl::Status written = WriteCheckpoint(*self, dir_, contents);
    ASSERT_TRUE(written.ok()) << written;
  }
  void ExpectRefused(absl::StatusCode code, const std::string& message) {
    const auto loaded = LoadedModel::Load(dir_, DType::kF32, *device_);
    EXPECT_EQ(loaded.status().code(), code) << loaded.status();
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(message));
  }

  TestContext context_;
  const std::unique_ptr<OpenedDevice> device_ = *OpenedDevice::Open("cpu");
  TemporaryFolder folder_;
  std::string dir_ = folder_ / "checkpoint";
  std::vector<int32_t> tokens_ = RandomTokens(21, 19, 1);
};

TEST_F(LoadedModelTest, ScoresAsTheModelThatWasSaved) {
  for (const TinyModel& tiny : {TinyModel{.chunks = {}}, TinyModel{.chunks = {2, 3}, .kv_heads = 2}}) {
    const auto model = MakeModel(context_, tiny);
    std::filesystem::remove_all(dir_);
    Write(ContentsOf(*model));
    const auto loaded = LoadedModel::Load(dir_, DType::kF32, *device_);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ((*loaded)->tokenizer(), nullptr);
    // The same masters through the same operations: bit for bit.
    EXPECT_EQ(*ScoreTokens((*loaded)->context(), (*loaded)->model(), tokens_), *ScoreTokens(context_, *model, tokens_));
  }
}

TEST_F(LoadedModelTest, KeepsItsChatTemplate) {
  CheckpointContents contents = ContentsOf(*MakeModel(context_, {}));
  ChatTemplate& chat = *contents.config.mutable_data()->mutable_chat_template();
  chat.add_role()->set_name("assistant");
  chat.mutable_role(0)->set_after("<|im_end|>\n\"\xC3\xA9");
  chat.add_stop("\n\n");
  Write(contents);
  const auto loaded = LoadedModel::Load(dir_, DType::kF32, *device_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->manifest().config().data().chat_template().SerializeAsString(), chat.SerializeAsString());
}

TEST_F(LoadedModelTest, Bf16IsTheSameModelRounded) {
  const auto model = MakeModel(context_, {.chunks = {2, 2}, .width = 32});
  Write(ContentsOf(*model));
  const auto loaded = LoadedModel::Load(dir_, DType::kBF16, *device_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto got = *ScoreTokens((*loaded)->context(), (*loaded)->model(), tokens_);
  const auto want = *ScoreTokens(context_, *model, tokens_);
  EXPECT_NE(got, want);
  double got_sum = 0, want_sum = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    got_sum += got[i];
    want_sum += want[i];
  }
  // Logits are of order 10 here and carry some ten roundings of 2^-9 each: 0.2 a token, averaged over 20.
  EXPECT_NEAR(got_sum / 20, want_sum / 20, 0.2);
}

TEST_F(LoadedModelTest, RefusesTensorsThatAreNotTheModels) {
  const auto model = MakeModel(context_, {.chunks = {2, 2}});
  CheckpointContents contents = ContentsOf(*model);
  contents.config.mutable_model()->set_vocab_size(20);
  Write(contents);
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "tensor encoder_embedding.weight has shape [19, 12]");

  std::filesystem::remove_all(dir_);
  contents = ContentsOf(*model);
  contents.config.mutable_model()->set_shift(ModelConfig::ALL);
  Write(contents);
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "no tensor level.1.start");

  std::filesystem::remove_all(dir_);
  contents = ContentsOf(*MakeModel(context_, {.chunks = {2, 2}, .shift = ModelConfig::ALL}));
  contents.config.mutable_model()->set_shift(ModelConfig::TOP);
  Write(contents);
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "tensor level.1.start is of no part of the model");

  std::filesystem::remove_all(dir_);
  contents = ContentsOf(*model);
  contents.config.mutable_model()->set_heads(5);
  Write(contents);
  ExpectRefused(absl::StatusCode::kInvalidArgument, "heads");
}

TEST_F(LoadedModelTest, RefusesDamageAndAbsence) {
  ExpectRefused(absl::StatusCode::kNotFound, dir_);
  Write(ContentsOf(*MakeModel(context_, {.chunks = {2, 2}})));
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("model-", 0) != 0) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<int64_t>(entry.file_size()) / 2);
    const char byte = static_cast<char>(file.peek());
    file.seekp(static_cast<int64_t>(entry.file_size()) / 2);
    file.put(static_cast<char>(byte ^ 4));
  }
  ExpectRefused(absl::StatusCode::kDataLoss, "checksum");
}

}  // namespace
}  // namespace photon::testing
