// Checkpoints of whole models, with or without a tokenizer.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "checkpoint/store.h"
#include "data/tokenizer.h"
#include "model/language_model.h"

namespace photon::testing {

// Replaces what is there. `tokenizer` is a tokenizer file's bytes, or empty.
inline void WriteModelCheckpoint(const std::string& dir, const LanguageModel& model, const std::string& tokenizer) {
  CheckpointContents contents;
  *contents.config.mutable_model() = model.config();
  contents.config.mutable_data()->set_sequence_length(64);
  if (!tokenizer.empty()) {
    contents.tokenizer_bytes = tokenizer;
    contents.tokenizer_name = TokenizerFileName(tokenizer);
  }
  for (const auto& parameter : model.parameters().parameters()) {
    const Shape& shape = parameter->spec.shape;
    contents.parts.push_back({"model", parameter->spec.name, shape,
                              Region{std::vector<int64_t>(shape.rank(), 0), shape}, parameter->master});
  }
  std::filesystem::remove_all(dir);
  const absl::Status status = WriteCheckpoint(*SelfCommunicator(), dir, contents);
  ASSERT_TRUE(status.ok()) << status;
}

}  // namespace photon::testing
