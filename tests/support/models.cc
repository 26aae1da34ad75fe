#include "tests/support/models.h"

#include <cmath>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/ops/elementwise.h"
#include "core/random.h"
#include "model/model_input.h"
#include "tests/support/tensors.h"

namespace photon::testing {

ModelConfig ConfigOf(const TinyModel& tiny) {
  ModelConfig config;
  config.set_vocab_size(tiny.vocab);
  config.set_width(tiny.width);
  config.set_ffn(tiny.width * 2 + 3);
  config.set_heads(tiny.heads);
  config.set_kv_heads(tiny.kv_heads);
  if (tiny.chunks.empty()) config.set_layers(tiny.layers);
  for (size_t i = 0; i < tiny.chunks.size(); ++i) {
    LevelConfig& level = *config.add_levels();
    level.set_chunk(tiny.chunks[i]);
    level.set_prefix(tiny.prefixes.empty() ? 2 : tiny.prefixes[i]);
    level.set_encoder_layers(tiny.layers);
    level.set_decoder_layers(tiny.layers);
  }
  config.set_shift(tiny.shift);
  config.set_contents(tiny.contents);
  config.set_encoder_scope(tiny.scope);
  return config;
}

std::string Describe(const TinyModel& tiny) {
  return absl::StrCat("C = (", absl::StrJoin(tiny.chunks, ","), "), kv ", tiny.kv_heads, ", ",
                      ModelConfig::Shift_Name(tiny.shift), " ", ModelConfig::Contents_Name(tiny.contents), " ",
                      ModelConfig::Scope_Name(tiny.scope));
}

void PrintTo(const TinyModel& tiny, std::ostream* out) { *out << Describe(tiny); }

std::unique_ptr<LanguageModel> MakeModel(const Context& context, const TinyModel& tiny, DType master, DType compute,
                                         uint64_t seed) {
  std::unique_ptr<LanguageModel> model = LanguageModel::Create(ConfigOf(tiny));
  ParameterSet& parameters = model->parameters();
  parameters.Allocate(context, {.master = master, .compute = compute, .gradients = true, .at = {}});
  parameters.ZeroGradients(context);
  parameters.Initialize(context, seed);
  for (const std::unique_ptr<Parameter>& p : parameters.parameters()) {
    if (p->spec.init.stddev != 0.02) continue;
    std::vector<double> values = ToDoubles(context, p->master);
    for (double& value : values) value *= tiny.loudness;
    ops::Cast(context, FromDoubles(context, values, p->master.shape(), master), p->master);
  }
  parameters.RefreshCompute(context);
  return model;
}

std::vector<int32_t> RandomTokens(int64_t count, int vocab, uint64_t seed) {
  const Philox philox(seed, 99);
  std::vector<int32_t> tokens(count);
  for (int64_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>(philox.Block(i)[0] % vocab);
  return tokens;
}

std::vector<std::vector<double>> Logits(const Context& context, const LanguageModel& model, const TokenBatch& batch,
                                        const ForwardOptions& options) {
  std::vector<std::vector<double>> rows(batch.tokens.size());
  Tape tape(context, Tape::Mode::kEvaluate);
  model.Forward(tape, ModelInput(context, model, batch), options,
                [&](Tape&, const Var&, const Var& logits, int64_t begin, int64_t end) {
                  const std::vector<double> values = ToDoubles(context, logits.value);
                  const int64_t v = logits.value.dim(1);
                  for (int64_t i = begin; i < end; ++i) {
                    rows[i].assign(values.begin() + (i - begin) * v, values.begin() + (i - begin + 1) * v);
                  }
                });
  return rows;
}

std::vector<TinyModel> AllFlags(TinyModel base) {
  std::vector<TinyModel> all;
  for (auto shift : {ModelConfig::TOP, ModelConfig::ALL}) {
    for (auto contents : {ModelConfig::ENCODED, ModelConfig::RECONSTRUCTED}) {
      for (auto scope : {ModelConfig::GLOBAL, ModelConfig::GROUP}) {
        base.shift = shift;
        base.contents = contents;
        base.scope = scope;
        all.push_back(base);
      }
    }
  }
  return all;
}

void MakeNan(const Context& context, LanguageModel& model) {
  for (const auto& parameter : model.parameters().parameters()) {
    const std::vector<double> values(parameter->elements(), std::nan(""));
    ops::Cast(context, FromDoubles(context, values, parameter->master.shape(), parameter->master.dtype()),
              parameter->master);
  }
  model.parameters().RefreshCompute(context);
}

}  // namespace photon::testing
