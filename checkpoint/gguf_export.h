// The flat model as a GGUF file of architecture "llama", for llama.cpp and its relatives.
//
// The same function of the token ids: RMSNorm, rotary attention (grouped or not), SwiGLU, untied head. llama.cpp
// rotates neighbouring dimensions where this project rotates i with i + d/2, so the rows of q and k are reordered
// within each head.
#pragma once

#include <string>
#include <vector>

#include "configs/model.pb.h"
#include "core/dtype.h"
#include "core/status.h"

namespace photon {

// What llama.cpp is told of the tokenizer.
struct GgufVocabulary {
  // Its own numbers for kinds of pieces, which are SentencePiece's too.
  enum Type : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

  std::string model = "none";  // "llama": SentencePiece BPE; "gpt2": byte-level BPE; "none": token ids only
  std::string pre_tokenizer;   // of gpt2: "gpt-2", "llama-bpe", ..
  std::vector<std::string> pieces;
  std::vector<float> scores;  // of llama
  std::vector<int32_t> types;
  std::vector<std::string> merges;  // of gpt2
  int32_t bos = -1;                 // this and the next are needed, but for "none"
  int32_t eos = -1;
  int32_t unknown = -1;  // -1: none
  bool add_space_prefix = false;
};

// kFailedPrecondition, with the reason, for models that llama.cpp's architecture cannot express: levels, heads that are
// no multiple of kv_heads.
absl::Status CheckGgufModel(const ModelConfig& model, const std::string& checkpoint_dir);

// Writes section "model" of the checkpoint (verified first) to `out`: matrices and embeddings as `dtype` (f32 or bf16),
// norms as f32. A vocabulary that is smaller than the model's is padded with unused pieces. kFailedPrecondition for
// models that CheckGgufModel refuses, vocabularies that are larger than the model's, and those without begin- and
// end-of-text (llama.cpp would take other pieces for them). `progress`: tells on stderr how far it is.
absl::Status ExportGguf(const std::string& checkpoint_dir, const std::string& out, DType dtype,
                        const GgufVocabulary& vocabulary, bool progress = false);

}  // namespace photon
