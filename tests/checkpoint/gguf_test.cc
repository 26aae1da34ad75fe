// The flat model as GGUF, read back by a small reader of the format.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>

#include <cstring>
#include <map>

#include "checkpoint/gguf_export.h"
#include "checkpoint/gguf_writer.h"
#include "tests/checkpoint/fixtures.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Everything of a file, values as text.
struct Gguf {
  struct Tensor {
    std::vector<uint64_t> dims;
    uint32_t type;
    uint64_t offset;
  };
  std::map<std::string, std::string> metadata;
  std::map<std::string, Tensor> tensors;
  std::string data;
};

class GgufReader {
 public:
  explicit GgufReader(std::string bytes) : bytes_(std::move(bytes)) {}

  Gguf Read() {
    EXPECT_EQ(Take(4), "GGUF");
    EXPECT_EQ(Get<uint32_t>(), 3u);
    const auto tensors = Get<uint64_t>(), pairs = Get<uint64_t>();
    Gguf file;
    for (uint64_t i = 0; i < pairs; ++i) {
      const std::string key = String();
      EXPECT_TRUE(file.metadata.emplace(key, Value(Get<uint32_t>())).second) << key << " twice";
    }
    for (uint64_t i = 0; i < tensors; ++i) {
      const std::string name = String();
      Gguf::Tensor& tensor = file.tensors[name];
      tensor.dims.resize(Get<uint32_t>());
      for (uint64_t& dim : tensor.dims) dim = Get<uint64_t>();
      tensor.type = Get<uint32_t>();
      tensor.offset = Get<uint64_t>();
    }
    at_ = (at_ + 31) / 32 * 32;
    file.data = bytes_.substr(at_);
    return file;
  }

 private:
  std::string Take(size_t size) {
    PHOTON_CHECK(at_ + size <= bytes_.size()) << "the file ends early";
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  template <typename T>
  T Get() {
    T value;
    std::memcpy(&value, Take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string String() { return Take(Get<uint64_t>()); }
  std::string Value(uint32_t type) {
    switch (type) {
      case 4:
        return absl::StrCat("u32 ", Get<uint32_t>());
      case 5:
        return absl::StrCat("i32 ", Get<int32_t>());
      case 6:
        return absl::StrCat("f32 ", Get<float>());
      case 7:
        return Get<uint8_t>() == 1 ? "true" : "false";
      case 8:
        return absl::StrCat("'", String(), "'");
      case 9: {
        const auto element = Get<uint32_t>();
        std::string all;
        for (auto left = Get<uint64_t>(); left > 0; --left) absl::StrAppend(&all, Value(element), left > 1 ? ", " : "");
        return absl::StrCat("[", all, "]");
      }
      default:
        ADD_FAILURE() << "value type " << type;
        return "";
    }
  }

  std::string bytes_;
  size_t at_ = 0;
};

constexpr char kFlat[] =
    "vocab_size: 13 width: 24 ffn: 20 heads: 4 kv_heads: 2 layers: 2 rope_theta: 5000 norm_eps: 1e-6";

// What a flat model's checkpoint holds.
std::vector<SampleTensor> FlatTensors() {
  std::vector<SampleTensor> tensors = {{"model", "embedding.weight", Shape{13, 24}}};
  for (const char* layer : {"stack.layers.0.", "stack.layers.1."}) {
    const auto add = [&](const char* name, Shape shape) {
      tensors.push_back({"model", absl::StrCat(layer, name), shape});
    };
    add("attention_norm.weight", {24});
    add("attention.q_proj.weight", {24, 24});
    add("attention.k_proj.weight", {12, 24});
    add("attention.v_proj.weight", {12, 24});
    add("attention.o_proj.weight", {24, 24});
    add("ffn_norm.weight", {24});
    add("ffn.gate_proj.weight", {20, 24});
    add("ffn.up_proj.weight", {20, 24});
    add("ffn.down_proj.weight", {24, 20});
  }
  tensors.push_back({"model", "stack.norm.weight", Shape{24}});
  tensors.push_back({"model", "lm_head.weight", Shape{13, 24}});
  return tensors;
}

void WriteModel(const std::string& dir, const std::string& model, const std::vector<SampleTensor>& tensors) {
  PartList list;
  for (size_t i = 0; i < tensors.size(); ++i) AddShare(list, tensors[i], static_cast<int>(i), Layout::kRows, 0, 1);
  CheckpointContents contents;
  PHOTON_CHECK(google::protobuf::TextFormat::ParseFromString(model, contents.config.mutable_model()));
  contents.config.mutable_data()->set_sequence_length(96);
  contents.parts = list.parts;
  const absl::Status status = WriteCheckpoint(*SelfCommunicator(), dir, contents);
  ASSERT_TRUE(status.ok()) << status;
}

GgufVocabulary Pieces(size_t count) {
  GgufVocabulary v = {.model = "llama", .bos = 1, .eos = 2, .unknown = 0, .add_space_prefix = true};
  for (size_t i = 0; i < count; ++i) {
    v.pieces.push_back(absl::StrCat("piece", i));
    v.scores.push_back(-static_cast<float>(i));
    v.types.push_back(i == 0 ? GgufVocabulary::kUnknown : i < 3 ? GgufVocabulary::kControl : GgufVocabulary::kNormal);
  }
  return v;
}

class GgufExport : public ::testing::TestWithParam<DType> {};

TEST_P(GgufExport, HasEveryTensorWhereLlamaCppLooksForIt) {
  const TemporaryFolder folder;
  WriteModel(folder / "model", kFlat, FlatTensors());
  const absl::Status status = ExportGguf(folder / "model", folder / "F.gguf", GetParam(), GgufVocabulary());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(FilesIn(folder.path()), ElementsAre("F.gguf", "model"));
  const Gguf file = GgufReader(Slurp(folder / "F.gguf")).Read();
  EXPECT_EQ(file.tensors.size(), FlatTensors().size());

  uint64_t bytes = 0;
  const auto check = [&](const std::string& target, const std::string& source, uint64_t rows, uint64_t columns,
                         int rotated_heads) {
    SCOPED_TRACE(target);
    ASSERT_TRUE(file.tensors.contains(target));
    const Gguf::Tensor& tensor = file.tensors.at(target);
    const bool vector = columns == 0;
    const bool narrow = GetParam() == DType::kBF16 && !vector;
    EXPECT_EQ(tensor.dims, vector ? std::vector<uint64_t>{rows} : (std::vector<uint64_t>{columns, rows}));
    EXPECT_EQ(tensor.type, narrow ? 30u : 0u);
    EXPECT_EQ(tensor.offset % 32, 0u);
    const uint64_t width = vector ? 1 : columns, size = rows * width * (narrow ? 2 : 4);
    bytes += (size + 31) / 32 * 32;
    ASSERT_LE(tensor.offset + size, file.data.size());
    for (uint64_t r = 0; r < rows; ++r) {
      // Pair i of a head: rows i and i + d/2 here, 2 i and 2 i + 1 there.
      const uint64_t d = rotated_heads > 0 ? rows / rotated_heads : 1, in_head = r % d;
      const uint64_t from = rotated_heads > 0 ? r - in_head + in_head / 2 + in_head % 2 * (d / 2) : r;
      for (uint64_t c = 0; c < width; ++c) {
        const auto want = static_cast<float>(SampleValue(source, from * width + c));
        const char* at = file.data.data() + tensor.offset + (r * width + c) * (narrow ? 2 : 4);
        if (narrow) {
          BFloat16 got;
          std::memcpy(static_cast<void*>(&got), at, sizeof(got));
          ASSERT_EQ(static_cast<float>(got), static_cast<float>(BFloat16(want))) << r << ", " << c;
        } else {
          float got;
          std::memcpy(&got, at, sizeof(got));
          ASSERT_EQ(got, want) << r << ", " << c;
        }
      }
    }
  };
  check("token_embd.weight", "embedding.weight", 13, 24, 0);
  for (int i = 0; i < 2; ++i) {
    const std::string to = absl::StrCat("blk.", i, "."), from = absl::StrCat("stack.layers.", i, ".");
    check(to + "attn_norm.weight", from + "attention_norm.weight", 24, 0, 0);
    check(to + "attn_q.weight", from + "attention.q_proj.weight", 24, 24, 4);
    check(to + "attn_k.weight", from + "attention.k_proj.weight", 12, 24, 2);
    check(to + "attn_v.weight", from + "attention.v_proj.weight", 12, 24, 0);
    check(to + "attn_output.weight", from + "attention.o_proj.weight", 24, 24, 0);
    check(to + "ffn_norm.weight", from + "ffn_norm.weight", 24, 0, 0);
    check(to + "ffn_gate.weight", from + "ffn.gate_proj.weight", 20, 24, 0);
    check(to + "ffn_up.weight", from + "ffn.up_proj.weight", 20, 24, 0);
    check(to + "ffn_down.weight", from + "ffn.down_proj.weight", 24, 20, 0);
  }
  check("output_norm.weight", "stack.norm.weight", 24, 0, 0);
  check("output.weight", "lm_head.weight", 13, 24, 0);
  EXPECT_EQ(file.data.size(), bytes) << "nothing but tensors, each padded to 32 bytes";
}

INSTANTIATE_TEST_SUITE_P(DTypes, GgufExport, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& info) { return std::string(Name(info.param)); });

TEST(Gguf, MetadataDescribesTheModel) {
  const TemporaryFolder folder;
  WriteModel(folder / "model", kFlat, FlatTensors());
  ASSERT_TRUE(ExportGguf(folder / "model", folder / "F.gguf", DType::kBF16, GgufVocabulary()).ok());
  const std::map<std::string, std::string> want = {{"general.architecture", "'llama'"},
                                                   {"general.name", "'photon-vanilla'"},
                                                   {"general.alignment", "u32 32"},
                                                   {"general.file_type", "u32 32"},
                                                   {"llama.vocab_size", "u32 13"},
                                                   {"llama.context_length", "u32 96"},
                                                   {"llama.embedding_length", "u32 24"},
                                                   {"llama.block_count", "u32 2"},
                                                   {"llama.feed_forward_length", "u32 20"},
                                                   {"llama.attention.head_count", "u32 4"},
                                                   {"llama.attention.head_count_kv", "u32 2"},
                                                   {"llama.attention.layer_norm_rms_epsilon", "f32 1e-06"},
                                                   {"llama.rope.dimension_count", "u32 6"},
                                                   {"llama.rope.freq_base", "f32 5000"},
                                                   {"tokenizer.ggml.model", "'none'"}};
  EXPECT_EQ(GgufReader(Slurp(folder / "F.gguf")).Read().metadata, want);
}

TEST(Gguf, VocabularyIsPaddedToTheModels) {
  const TemporaryFolder folder;
  WriteModel(folder / "model", kFlat, FlatTensors());
  ASSERT_TRUE(ExportGguf(folder / "model", folder / "F.gguf", DType::kF32, Pieces(11)).ok());
  std::map<std::string, std::string> got = GgufReader(Slurp(folder / "F.gguf")).Read().metadata;
  EXPECT_EQ(got["general.file_type"], "u32 0");
  EXPECT_EQ(got["tokenizer.ggml.model"], "'llama'");
  EXPECT_THAT(got["tokenizer.ggml.tokens"], HasSubstr("'piece0', 'piece1'"));
  EXPECT_THAT(got["tokenizer.ggml.tokens"], HasSubstr("'piece10', '[PAD11]', '[PAD12]']"));
  EXPECT_THAT(got["tokenizer.ggml.token_type"], HasSubstr("[i32 2, i32 3, i32 3, i32 1, "));
  EXPECT_THAT(got["tokenizer.ggml.token_type"], HasSubstr("i32 1, i32 5, i32 5]"));
  EXPECT_THAT(got["tokenizer.ggml.scores"], HasSubstr("f32 -9, f32 -10, f32 0, f32 0]"));
  EXPECT_EQ(got["tokenizer.ggml.bos_token_id"], "u32 1");
  EXPECT_EQ(got["tokenizer.ggml.eos_token_id"], "u32 2");
  EXPECT_EQ(got["tokenizer.ggml.unknown_token_id"], "u32 0");
  EXPECT_EQ(got["tokenizer.ggml.add_bos_token"], "true");
  EXPECT_EQ(got["tokenizer.ggml.add_space_prefix"], "true");
}

TEST(Gguf, RefusesWithTheReason) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& model, const std::vector<SampleTensor>& tensors,
                           const GgufVocabulary& vocabulary = {}) {
    const std::string dir = folder / absl::StrCat("model", FilesIn(folder.path()).size());
    WriteModel(dir, model, tensors);
    const absl::Status status = ExportGguf(dir, folder / "F.gguf", DType::kF32, vocabulary);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_FALSE(std::filesystem::exists(folder / "F.gguf"));
    return std::string(status.message());
  };
  EXPECT_THAT(refused("vocab_size: 13 width: 24 ffn: 20 heads: 4 levels { chunk: 4 }", FlatTensors()),
              HasSubstr("1 level(s) (PHOTON or Block Transformer), which no GGUF architecture has"));
  EXPECT_THAT(refused("vocab_size: 13 width: 24 ffn: 20 heads: 4 kv_heads: 3 layers: 2", FlatTensors()),
              HasSubstr("heads (4) is no multiple of kv_heads (3)"));
  EXPECT_THAT(refused(kFlat, FlatTensors(), Pieces(14)), HasSubstr("14 pieces, the model's vocab_size is 13"));
  // llama.cpp would stop at piece 2, or 11 of byte-level BPE, whatever it means.
  GgufVocabulary no_end = Pieces(13), no_begin = Pieces(13);
  no_end.eos = no_begin.bos = -1;
  EXPECT_THAT(refused(kFlat, FlatTensors(), no_end), HasSubstr("no begin- or end-of-text"));
  EXPECT_THAT(refused(kFlat, FlatTensors(), no_begin), HasSubstr("--tokenizer none"));
  std::vector<SampleTensor> fewer = FlatTensors();
  fewer.pop_back();
  EXPECT_THAT(refused(kFlat, fewer), HasSubstr("no tensor lm_head.weight [13, 24]"));
}

}  // namespace
}  // namespace photon
