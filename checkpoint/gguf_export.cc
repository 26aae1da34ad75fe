#include "checkpoint/gguf_export.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "checkpoint/gguf_writer.h"
#include "checkpoint/manifest.h"
#include "checkpoint/store.h"
#include "checkpoint/weights.h"
#include "checkpoint/weights_progress.h"
#include "configs/model_config.h"

namespace photon {
namespace {

enum GgufFileType : uint32_t { kAllF32 = 0, kMostlyBF16 = 32 };  // enum llama_ftype

// Where a tensor of the file comes from.
struct Source {
  std::string name;       // in the checkpoint
  int rotated_heads = 0;  // > 0: rows are those of so many heads, to be reordered
};

absl::Status CheckVocabulary(const ModelConfig& model, const GgufVocabulary& vocabulary) {
  constexpr char kRemedy[] = "; export the weights alone with --tokenizer none";
  if (vocabulary.model == "none") return absl::OkStatus();
  if (static_cast<int64_t>(vocabulary.pieces.size()) > model.vocab_size()) {
    return absl::FailedPreconditionError(absl::StrCat("the tokenizer has ", vocabulary.pieces.size(),
                                                      " pieces, the model's vocab_size is ", model.vocab_size(),
                                                      ": they don't belong together", kRemedy));
  }
  if (vocabulary.bos >= 0 && vocabulary.eos >= 0) return absl::OkStatus();
  // No value of the keys says "none": what is left out, or no piece, leaves llama.cpp's defaults, 1 and 2, or 11.
  return absl::FailedPreconditionError(absl::StrCat(
      "the tokenizer has no begin- or end-of-text, and llama.cpp would take other pieces for them and stop there",
      kRemedy));
}

void AddModel(const RunConfig& config, DType dtype, GgufMetadata& metadata) {
  const ModelConfig& model = config.model();
  metadata.AddString("general.architecture", "llama");
  metadata.AddString("general.name", "photon-vanilla");
  metadata.AddU32("general.alignment", kGgufAlignment);
  metadata.AddU32("general.file_type", dtype == DType::kF32 ? kAllF32 : kMostlyBF16);
  metadata.AddU32("llama.vocab_size", model.vocab_size());
  metadata.AddU32("llama.context_length", config.data().sequence_length());
  metadata.AddU32("llama.embedding_length", model.width());
  metadata.AddU32("llama.block_count", model.layers());
  metadata.AddU32("llama.feed_forward_length", model.ffn());
  metadata.AddU32("llama.attention.head_count", model.heads());
  metadata.AddU32("llama.attention.head_count_kv", KvHeads(model));
  metadata.AddF32("llama.attention.layer_norm_rms_epsilon", static_cast<float>(model.norm_eps()));
  metadata.AddU32("llama.rope.dimension_count", HeadDim(model));
  metadata.AddF32("llama.rope.freq_base", static_cast<float>(model.rope_theta()));
}

void AddVocabulary(const GgufVocabulary& vocabulary, int64_t vocab_size, GgufMetadata& metadata) {
  metadata.AddString("tokenizer.ggml.model", vocabulary.model);
  if (vocabulary.model == "none") return;
  metadata.AddString("tokenizer.ggml.pre", vocabulary.pre_tokenizer.empty() ? "default" : vocabulary.pre_tokenizer);
  std::vector<std::string> pieces = vocabulary.pieces;
  std::vector<int32_t> types = vocabulary.types;
  std::vector<float> scores = vocabulary.scores;
  for (int64_t id = pieces.size(); id < vocab_size; ++id) pieces.push_back(absl::StrCat("[PAD", id, "]"));
  types.resize(vocab_size, GgufVocabulary::kUnused);
  metadata.AddStrings("tokenizer.ggml.tokens", pieces);
  metadata.AddI32s("tokenizer.ggml.token_type", types);
  if (!scores.empty()) {
    scores.resize(vocab_size, 0);
    metadata.AddF32s("tokenizer.ggml.scores", scores);
  }
  if (!vocabulary.merges.empty()) metadata.AddStrings("tokenizer.ggml.merges", vocabulary.merges);
  metadata.AddU32("tokenizer.ggml.bos_token_id", vocabulary.bos);
  metadata.AddU32("tokenizer.ggml.eos_token_id", vocabulary.eos);
  if (vocabulary.unknown >= 0) metadata.AddU32("tokenizer.ggml.unknown_token_id", vocabulary.unknown);
  metadata.AddBool("tokenizer.ggml.add_bos_token", true);
  metadata.AddBool("tokenizer.ggml.add_eos_token", false);
  metadata.AddBool("tokenizer.ggml.add_space_prefix", vocabulary.add_space_prefix);
}

struct Tensors {
  std::vector<GgufTensor> targets;
  std::vector<Source> sources;

  void Add(const std::string& target, const std::string& source, Shape shape, DType dtype, int rotated_heads = 0) {
    targets.push_back({target, std::move(shape), dtype});
    sources.push_back({source, rotated_heads});
  }
};

Tensors ListTensors(const ModelConfig& model, DType dtype) {
  const int64_t d = model.width(), f = model.ffn(), kv = int64_t{KvHeads(model)} * HeadDim(model);
  Tensors list;
  list.Add("token_embd.weight", "embedding.weight", {model.vocab_size(), d}, dtype);
  for (int i = 0; i < model.layers(); ++i) {
    const std::string to = absl::StrCat("blk.", i, "."), from = absl::StrCat("stack.layers.", i, ".");
    list.Add(to + "attn_norm.weight", from + "attention_norm.weight", {d}, DType::kF32);
    list.Add(to + "attn_q.weight", from + "attention.q_proj.weight", {d, d}, dtype, model.heads());
    list.Add(to + "attn_k.weight", from + "attention.k_proj.weight", {kv, d}, dtype, KvHeads(model));
    list.Add(to + "attn_v.weight", from + "attention.v_proj.weight", {kv, d}, dtype);
    list.Add(to + "attn_output.weight", from + "attention.o_proj.weight", {d, d}, dtype);
    list.Add(to + "ffn_norm.weight", from + "ffn_norm.weight", {d}, DType::kF32);
    list.Add(to + "ffn_gate.weight", from + "ffn.gate_proj.weight", {f, d}, dtype);
    list.Add(to + "ffn_up.weight", from + "ffn.up_proj.weight", {f, d}, dtype);
    list.Add(to + "ffn_down.weight", from + "ffn.down_proj.weight", {d, f}, dtype);
  }
  list.Add("output_norm.weight", "stack.norm.weight", {d}, DType::kF32);
  list.Add("output.weight", "lm_head.weight", {model.vocab_size(), d}, dtype);
  return list;
}

// Rows of a head from [first halves of the pairs, second halves] to pair after pair.
void InterleavePairs(absl::Span<float> matrix, int64_t width, int heads) {
  const std::vector<float> from(matrix.begin(), matrix.end());
  const int64_t head_dim = static_cast<int64_t>(matrix.size()) / width / heads, half = head_dim / 2;
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < head_dim; ++i) {
      const float* row = from.data() + (h * head_dim + i) * width;
      std::copy(row, row + width, matrix.data() + (h * head_dim + 2 * (i % half) + i / half) * width);
    }
  }
}

}  // namespace

absl::Status CheckGgufModel(const ModelConfig& model, const std::string& checkpoint_dir) {
  PHOTON_RETURN_IF_ERROR(ValidateModel(model));
  if (model.levels_size() > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(checkpoint_dir, " holds a model with ", model.levels_size(),
                     " level(s) (PHOTON or Block Transformer), which no GGUF architecture has: only flat models "
                     "(layers, no levels) can be exported; for others use --format safetensors"));
  }
  if (model.heads() % KvHeads(model) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(checkpoint_dir, ": heads (", model.heads(), ") is no multiple of kv_heads (", KvHeads(model),
                   "), which GGUF's architecture llama wants; use --format safetensors"));
}

absl::Status ExportGguf(const std::string& checkpoint_dir, const std::string& out, DType dtype,
                        const GgufVocabulary& vocabulary, bool progress) {
  PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(checkpoint_dir));
  const RunConfig& config = reader.manifest().config();
  PHOTON_RETURN_IF_ERROR(CheckGgufModel(config.model(), checkpoint_dir));
  PHOTON_RETURN_IF_ERROR(CheckVocabulary(config.model(), vocabulary));
  PHOTON_RETURN_IF_ERROR(reader.Verify(*SelfCommunicator(), kModelSection));
  const Tensors tensors = ListTensors(config.model(), dtype);
  for (size_t i = 0; i < tensors.targets.size(); ++i) {
    PHOTON_RETURN_IF_ERROR(CheckWeight(reader, tensors.sources[i].name, tensors.targets[i].shape));
  }
  GgufMetadata metadata;
  AddModel(config, dtype, metadata);
  AddVocabulary(vocabulary, config.model().vocab_size(), metadata);
  WeightsProgress shown("export", tensors.targets, progress);
  return WriteGguf(out, metadata, tensors.targets, [&](size_t i, absl::Span<float> values) {
    shown.Reached(tensors.targets[i].shape);
    const Source& source = tensors.sources[i];
    PHOTON_RETURN_IF_ERROR(ReadWeight(reader, source.name, values));
    if (source.rotated_heads > 0) InterleavePairs(values, config.model().width(), source.rotated_heads);
    return absl::OkStatus();
  });
}

}  // namespace photon
