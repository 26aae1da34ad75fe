// A small checkpoint made as a user makes one: a safetensors file, imported by the program.
#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/export.h"
#include "checkpoint/model_json.h"
#include "core/random.h"
#include "model/language_model.h"
#include "tests/launch/process.h"

namespace photon::testing {

// `folder`/checkpoint: a PHOTON of 11 ids whose meta-context is 4 tokens, with random weights and no tokenizer.
inline void ImportSmallModel(const std::string& folder) {
  ModelConfig config;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "vocab_size: 11 width: 8 ffn: 6 heads: 2 levels { chunk: 2 encoder_layers: 1 decoder_layers: 1 } "
      "levels { chunk: 2 encoder_layers: 1 decoder_layers: 1 }",
      &config));
  std::vector<NamedShape> tensors;
  const std::unique_ptr<LanguageModel> model = LanguageModel::Create(config);
  for (const auto& parameter : model->parameters().parameters()) {
    tensors.push_back({parameter->spec.name, parameter->spec.shape});
  }
  const std::string file = folder + "/model.safetensors";
  ASSERT_TRUE(WriteSafetensors(file, tensors, {}, [](const NamedShape& tensor, absl::Span<float> out) {
                const Philox philox(StableHash(tensor.name), 0);
                for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(philox.Normal(i));
                return absl::OkStatus();
              }).ok());
  std::ofstream(ModelJsonPath(file)) << ModelConfigToJson(config);
  const Outcome imported =
      RunPhoton(absl::StrCat("checkpoint import --in ", file, " --checkpoint ", folder, "/checkpoint"));
  ASSERT_EQ(imported.exit_code, 0) << imported.err;
}

}  // namespace photon::testing
