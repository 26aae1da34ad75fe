// photon checkpoint on whole and damaged checkpoints.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/export.h"
#include "checkpoint/model_json.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/store.h"
#include "configs/config.h"
#include "model/language_model.h"
#include "tests/launch/process.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::RunPhoton;

RunConfig Config() { return Resolved(*ParseRunConfig("model { layers: 1 } data { train: \"text\" }", "test"), 1); }

// Weights of a model, all different, with its JSON beside them.
void WriteModel(const ModelConfig& model, const std::string& path) {
  std::vector<NamedShape> tensors;
  const std::unique_ptr<LanguageModel> built = LanguageModel::Create(model);
  for (const auto& parameter : built->parameters().parameters()) {
    tensors.push_back({parameter->spec.name, parameter->spec.shape});
  }
  float next = 0;
  ASSERT_TRUE(WriteSafetensors(path, tensors, {}, [&](const NamedShape&, absl::Span<float> out) {
                for (float& value : out) value = next++;
                return absl::OkStatus();
              }).ok());
  std::ofstream(ModelJsonPath(path)) << ModelConfigToJson(model);
}

class CheckpointCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    run_ = absl::StrCat(::testing::TempDir(), "/photon-cli-run-", getpid());
    fs::remove_all(run_);
    CheckpointContents contents;
    contents.config = Config();
    contents.state.set_step(7);
    contents.parts.push_back(
        {"model", "lm_head.weight", {3, 5}, {{0, 0}, {3, 5}}, testing::RandomTensor(context_, {3, 5}, DType::kF32, 1)});
    fs::create_directories(fs::path(run_) / "checkpoints");
    const std::unique_ptr<Communicator> self = SelfCommunicator();
    ASSERT_TRUE(WriteCheckpoint(*self, CheckpointDir(run_, 7), contents).ok());
    ASSERT_TRUE(PublishCheckpoint(run_, 7, 0).ok());
  }
  void TearDown() override { fs::remove_all(run_); }

  testing::TestContext context_;
  std::string run_;
};

TEST_F(CheckpointCommand, InspectShowsWhatIsInside) {
  const Outcome text = RunPhoton("checkpoint inspect --checkpoint " + run_);
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("step          7\n"));
  EXPECT_THAT(text.out, HasSubstr("lm_head.weight  f32 [3, 5], 1 shard\n"));
  const Outcome json = RunPhoton("checkpoint inspect --json --checkpoint " + run_);
  EXPECT_EQ(nlohmann::json::parse(json.out, nullptr, false).value("step", -1), 7) << json.out;
  const Outcome config = RunPhoton("checkpoint inspect --config --checkpoint " + run_);
  EXPECT_EQ(config.out, ToText(Config()));
}

TEST_F(CheckpointCommand, VerifyTakesARunOrACheckpoint) {
  for (const std::string& path : {run_, CheckpointDir(run_, 7), run_ + "/checkpoints/latest"}) {
    const Outcome outcome = RunPhoton("checkpoint verify --checkpoint " + path);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("ok   index.h5"));
  }
}

TEST_F(CheckpointCommand, OneFlippedBitAnywhereIsRefused) {
  for (const fs::directory_entry& entry : fs::directory_iterator(CheckpointDir(run_, 7))) {
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(fs::file_size(entry.path()) / 2);
    file.seekg(middle);
    const char byte = static_cast<char>(file.get());
    const auto write = [&](char value) {
      file.seekp(middle);
      file.put(value);
      file.flush();
    };
    write(static_cast<char>(byte ^ 1));
    const Outcome outcome = RunPhoton("checkpoint verify --checkpoint " + run_);
    EXPECT_EQ(outcome.exit_code, 2) << entry.path();
    EXPECT_THAT(outcome.err, HasSubstr("checksum")) << entry.path();
    EXPECT_THAT(outcome.err, HasSubstr(entry.path().filename().string()));
    write(byte);
  }
  EXPECT_EQ(RunPhoton("checkpoint verify --checkpoint " + run_).exit_code, 0);
}

TEST_F(CheckpointCommand, ImportThenExportIsTheIdentity) {
  ModelConfig model;
  ASSERT_TRUE(
      google::protobuf::TextFormat::ParseFromString("vocab_size: 11 width: 8 ffn: 6 heads: 2 levels { chunk: 2 "
                                                    "encoder_layers: 1 decoder_layers: 1 } levels { chunk: 2 "
                                                    "encoder_layers: 1 decoder_layers: 1 }",
                                                    &model));
  const std::string first = run_ + "/first.safetensors", second = run_ + "/second.safetensors",
                    imported = run_ + "/imported";
  WriteModel(model, first);
  Outcome outcome = RunPhoton(absl::StrCat("checkpoint import --in ", first, " --checkpoint ", imported));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  outcome =
      RunPhoton(absl::StrCat("checkpoint export --format safetensors --checkpoint ", imported, " --out ", second));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const SafetensorsReader a = *SafetensorsReader::Open(first), b = *SafetensorsReader::Open(second);
  ASSERT_EQ(a.entries().size(), b.entries().size());
  for (const SafetensorsEntry& entry : a.entries()) {
    ASSERT_NE(b.Find(entry.name), nullptr) << entry.name;
    std::vector<float> x(entry.shape.elements()), y(entry.shape.elements());
    ASSERT_TRUE(a.Read(entry, absl::MakeSpan(x)).ok());
    ASSERT_TRUE(b.Read(*b.Find(entry.name), absl::MakeSpan(y)).ok());
    EXPECT_EQ(x, y) << entry.name;
  }
  // A second import must not replace the checkpoint.
  outcome = RunPhoton(absl::StrCat("checkpoint import --in ", first, " --checkpoint ", imported));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr(imported));
}

TEST_F(CheckpointCommand, MissingCheckpointNamesTheFolder) {
  const Outcome outcome = RunPhoton("checkpoint inspect --checkpoint " + run_ + "/nothing");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr(run_ + "/nothing"));
}

}  // namespace
}  // namespace photon
