// Small models for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/language_model.h"

namespace photon::testing {

struct TinyModel {
  std::vector<int> chunks = {4, 4};  // C_1..C_L; empty: the flat model
  std::vector<int> prefixes = {};    // R_1..R_L; default 2 each
  int width = 24;
  int heads = 4;
  int kv_heads = 4;
  int vocab = 19;
  int layers = 1;  // of every stack
  ModelConfig::Shift shift = ModelConfig::TOP;
  ModelConfig::Contents contents = ModelConfig::ENCODED;
  ModelConfig::Scope scope = ModelConfig::GLOBAL;
  // Matrices are this times their usual initial values: so loud that every part of the model matters to the output (the
  // usual 0.02 at such widths leaves attention and feed-forward nearly silent). With kOrdinary they have the gain of
  // large models, which magnify rounding no more than trained ones do.
  static constexpr double kLoud = 15, kOrdinary = 5;
  double loudness = kLoud;
};
ModelConfig ConfigOf(const TinyModel& tiny);
std::string Describe(const TinyModel& tiny);
void PrintTo(const TinyModel& tiny, std::ostream* out);  // for GoogleTest

// Allocated and initialised.
std::unique_ptr<LanguageModel> MakeModel(const Context& context, const TinyModel& tiny, DType master = DType::kF32,
                                         DType compute = DType::kF32, uint64_t seed = 3);

std::vector<int32_t> RandomTokens(int64_t count, int vocab, uint64_t seed);

// Every parameter becomes NaN, as after a training that diverged.
void MakeNan(const Context& context, LanguageModel& model);

// Logits of all rows, [rows][V], from the model's own forward pass.
std::vector<std::vector<double>> Logits(const Context& context, const LanguageModel& model, const TokenBatch& batch,
                                        const ForwardOptions& options = {});

// Every combination of shift, contents and scope.
std::vector<TinyModel> AllFlags(TinyModel base);

}  // namespace photon::testing
