// Weights and config out to safetensors + JSON and back.
#include "checkpoint/export.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>

#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "checkpoint/model_json.h"
#include "tests/checkpoint/fixtures.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig Parse(const std::string& text) {
  ModelConfig config;
  PHOTON_CHECK(google::protobuf::TextFormat::ParseFromString(text, &config));
  return config;
}

ModelConfig Photon() {
  return Parse(R"(vocab_size: 13 width: 24 ffn: 20 heads: 4 kv_heads: 2 shift: ALL contents: RECONSTRUCTED
                  encoder_scope: GROUP rope_theta: 500000 norm_eps: 1e-6
                  levels { chunk: 3 prefix: 2 encoder_layers: 1 decoder_layers: 2 }
                  levels { chunk: 5 prefix: 1 encoder_layers: 3 decoder_layers: 4 })");
}

ModelConfig Vanilla() { return Parse("vocab_size: 13 width: 24 ffn: 20 heads: 4 layers: 3"); }

// Stands for the model's own list, which lives in another folder.
absl::StatusOr<std::vector<NamedShape>> Expected(const ModelConfig& model) {
  return std::vector<NamedShape>{{"lm_head.weight", Shape{model.vocab_size(), model.width()}},
                                 {"norm.weight", Shape{model.width()}}};
}

void WriteModel(const std::string& dir, const ModelConfig& model) {
  const auto statuses = OnRanks(2, [&](Communicator& comm) {
    PartList list;
    AddShare(list, {"model", "lm_head.weight", Shape{13, 24}}, 0, Layout::kColumns, comm.rank(), 2);
    AddShare(list, {"model", "norm.weight", Shape{24}, DType::kF64}, 1, Layout::kRows, comm.rank(), 2);
    AddShare(list, {"optimizer", "optimizer.m.norm.weight", Shape{24}}, 2, Layout::kRows, comm.rank(), 2);
    CheckpointContents contents;
    *contents.config.mutable_model() = model;
    contents.state.set_step(9);
    contents.parts = list.parts;
    return WriteCheckpoint(comm, dir, contents);
  });
  for (const absl::Status& status : statuses) ASSERT_TRUE(status.ok()) << status;
}

class Exported : public ::testing::TestWithParam<bool> {
 protected:
  ModelConfig model() const { return GetParam() ? Photon() : Vanilla(); }
};

TEST_P(Exported, ComesBackTheSame) {
  TemporaryFolder folder;
  WriteModel(folder / "from", model());
  const std::string file = folder / "F.safetensors";
  const absl::Status exported = ExportSafetensors(folder / "from", file);
  ASSERT_TRUE(exported.ok()) << exported;
  EXPECT_THAT(FilesIn(folder.path()), ElementsAre("F.json", "F.safetensors", "from"));
  EXPECT_EQ(SafetensorsReader::Open(file)->entries().size(), 2u) << "weights only";

  Spill(folder / "words.model", "tokenizer");
  const absl::Status imported = ImportSafetensors(file, folder / "to", folder / "words.model", Expected);
  ASSERT_TRUE(imported.ok()) << imported;
  const auto reader = CheckpointReader::Open(folder / "to");
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->manifest().state().step(), 0);
  EXPECT_EQ(*reader->ReadTokenizer(), "tokenizer");
  const ModelConfig& back = reader->manifest().config().model();
  EXPECT_EQ(ModelConfigToJson(back), ModelConfigToJson(model()));
  EXPECT_EQ(reader->manifest().config().data().sequence_length(), GetParam() ? 1035 : 1024);  // 69 units of 15 tokens
  ExpectRegion(*reader, {"model", "lm_head.weight", Shape{13, 24}}, Region{{0, 0}, Shape{13, 24}});
  ExpectRegion(*reader, {"model", "norm.weight", Shape{24}}, Region{{0}, Shape{24}});
  EXPECT_EQ(ImportSafetensors(file, folder / "to", "", Expected).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(Exported, ReplacesAModelsShapeAndNoOtherJson) {
  TemporaryFolder folder;
  WriteModel(folder / "from", model());
  const std::string file = folder / "F.safetensors", other = "{\"tokens\": 5, \"documents\": 1}";
  Spill(folder / "F.json", other);
  const absl::Status status = ExportSafetensors(folder / "from", file);
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("F.json exists"), HasSubstr("choose another --out")));
  EXPECT_EQ(Slurp(folder / "F.json"), other);
  EXPECT_FALSE(std::filesystem::exists(file));
  std::filesystem::remove(folder / "F.json");
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(ExportSafetensors(folder / "from", file).ok()) << "once more over its own";
}

TEST_P(Exported, ImportWantsExactlyTheModelsTensors) {
  TemporaryFolder folder;
  WriteModel(folder / "from", model());
  const std::string file = folder / "F.safetensors";
  ASSERT_TRUE(ExportSafetensors(folder / "from", file).ok());
  const auto import = [&](std::vector<NamedShape> list) {
    return ImportSafetensors(file, folder / "to", "", [&](const ModelConfig&) { return list; });
  };
  const NamedShape head{"lm_head.weight", Shape{13, 24}}, norm{"norm.weight", Shape{24}};
  for (const auto& [list, message] : std::vector<std::pair<std::vector<NamedShape>, std::string>>{
           {{head, norm, {"start", Shape{24}}}, "lacks tensor start"},
           {{head}, "has tensor norm.weight"},
           {{{"lm_head.weight", Shape{24, 13}}, norm}, "[24, 13]"}}) {
    const absl::Status status = import(list);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "to"));
  std::filesystem::remove(folder / "F.json");
  EXPECT_EQ(import({head, norm}).code(), absl::StatusCode::kNotFound);
}

TEST_P(Exported, ImportRefusesValuesThatAreNotFinite) {
  TemporaryFolder folder;
  WriteModel(folder / "from", model());
  const std::string file = folder / "F.safetensors";
  ASSERT_TRUE(ExportSafetensors(folder / "from", file).ok());
  std::string bytes = Slurp(file);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + bytes.size() - sizeof(nan), &nan, sizeof(nan));
  Spill(file, bytes);
  const absl::Status status = ImportSafetensors(file, folder / "to", "", Expected);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not finite"));
  EXPECT_FALSE(std::filesystem::exists(folder / "to"));
}

INSTANTIATE_TEST_SUITE_P(PhotonAndVanilla, Exported, ::testing::Bool());

TEST(Export, DamagedCheckpointIsRefused) {
  TemporaryFolder folder;
  WriteModel(folder / "from", Vanilla());
  std::string bytes = Slurp(folder / "from/model-00000-of-00002.h5");
  bytes[bytes.size() - 1] ^= 1;
  Spill(folder / "from/model-00000-of-00002.h5", bytes);
  const absl::Status status = ExportSafetensors(folder / "from", folder / "F.safetensors");
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(FilesIn(folder.path()), ElementsAre("from"));
}

TEST(ModelJson, HasTheKeysThatOthersReadIt) {
  const auto json = nlohmann::json::parse(ModelConfigToJson(Photon()));
  EXPECT_EQ(json, nlohmann::json::parse(R"({"vocab_size":13,"width":24,"ffn":20,"heads":4,"kv_heads":2,"levels":[
    {"chunk":3,"prefix":2,"encoder_layers":1,"decoder_layers":2},{"chunk":5,"prefix":1,"encoder_layers":3,"decoder_layers":4}],
    "shift":"ALL","contents":"RECONSTRUCTED","encoder_scope":"GROUP","rope_theta":500000.0,"norm_eps":1e-6})"));
  const auto vanilla = nlohmann::json::parse(ModelConfigToJson(Vanilla()));
  EXPECT_EQ(vanilla["levels"], nlohmann::json::array());
  EXPECT_EQ(vanilla["layers"], 3);
  EXPECT_EQ(vanilla["kv_heads"], 4);
  EXPECT_EQ(vanilla["rope_theta"], 10000.0);
}

TEST(ModelJson, ErrorsNameFileAndKey) {
  const auto change = [](const std::string& pointer, const nlohmann::json& value) {
    auto json = nlohmann::json::parse(ModelConfigToJson(Photon()));
    if (value.is_discarded()) {
      json.erase(pointer.substr(1));
    } else {
      json[nlohmann::json::json_pointer(pointer)] = value;
    }
    return json.dump();
  };
  const nlohmann::json gone(nlohmann::json::value_t::discarded);
  const std::pair<std::string, std::string> cases[] = {
      {"", "not JSON"},
      {"[1]", "not an object"},
      {change("/widht", 24), "did you mean \"width\""},
      {change("/width", gone), "\"width\""},
      {change("/width", "24"), "\"width\""},
      {change("/width", 24.5), "\"width\""},
      {change("/width", 1e12), "\"width\""},
      {change("/width", 4294967320), "\"width\""},
      {change("/levels", 3), "\"levels\""},
      {change("/levels", nlohmann::json::array()), "\"layers\""},
      {change("/levels/1/chunks", 3), "levels[1]"},
      {change("/levels/1", 3), "levels[1]"},
      {change("/shift", "top"), "\"shift\""},
      {change("/contents", 0), "ENCODED or RECONSTRUCTED"},
      {change("/rope_theta", "x"), "rope_theta"},
      {change("/heads", 5), "heads"},  // 24 is no multiple of 5: the shape itself is impossible
  };
  for (const auto& [text, message] : cases) {
    const auto config = ModelConfigFromJson(text, "F.json");
    ASSERT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(message));
    EXPECT_THAT(std::string(config.status().message()), ::testing::StartsWith("F.json"));
  }
}

}  // namespace
}  // namespace photon
