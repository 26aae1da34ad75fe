// The models and batches that training benchmarks run.
#pragma once

#include <string>
#include <vector>

#include "configs/config.h"
#include "core/random.h"
#include "core/token_batch.h"

namespace photon::bench {

// Eight layers in all, whatever their arrangement. bench/peers/train_step.py has the same shapes.
inline void AddLayers(ModelConfig& model, const std::string& kind) {
  if (kind == "flat") return model.set_layers(8);
  const int levels = kind == "photon" ? 2 : 1;
  for (int l = 0; l < levels; ++l) {
    LevelConfig& level = *model.add_levels();
    level.set_encoder_layers(4 / levels);
    level.set_decoder_layers(4 / levels);
  }
}

// ~37 M parameters, V 8192, D 512, F 1408; `sequences` a step.
inline RunConfig Config(const std::string& kind, const std::string& dtype, int64_t length, int sequences, int slice) {
  RunConfig config;
  ModelConfig& model = *config.mutable_model();
  model.set_vocab_size(8192);
  model.set_width(512);
  model.set_ffn(1408);
  model.set_heads(8);
  AddLayers(model, kind);
  config.mutable_data()->set_sequence_length(static_cast<int32_t>(length));
  config.mutable_training()->set_dtype(dtype);
  config.mutable_training()->set_batch_sequences(sequences);
  config.mutable_training()->set_slice_tokens(slice);
  return Resolved(config, 1);
}

// `sequences` sequences of random tokens, the same in every run.
inline TokenBatch RandomBatch(const RunConfig& config, int sequences) {
  const Philox philox(1, 2);
  std::vector<int32_t> ids(int64_t{sequences} * config.data().sequence_length());
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(philox.Block(i)[0] % config.model().vocab_size());
  TokenBatch batch = TokenBatch::FromIds(ids, 1, true);
  batch.sequences = sequences;
  batch.length = config.data().sequence_length();
  return batch;
}

}  // namespace photon::bench
