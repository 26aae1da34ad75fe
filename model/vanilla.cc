#include "model/vanilla.h"

#include "core/ops/matmul.h"
#include "core/ops/rows.h"
#include "core/profiler.h"
#include "model/model_input.h"

namespace photon {
namespace {

constexpr Init kSmall = {.mean = 0, .stddev = 0.02};

}  // namespace

VanillaModel::VanillaModel(const ModelConfig& config)
    : LanguageModel(config),
      embedding_(parameters_.Add({{"embedding.weight", {config.vocab_size(), config.width()}, kSmall, false, {}}})),
      stack_(parameters_, "stack", config, config.layers()),
      head_(parameters_.Add({{"lm_head.weight", {config.vocab_size(), config.width()}, kSmall, true, {}}}, true)) {}

Var VanillaModel::EmbedTokens(Tape& tape, const Tensor& ids) const {
  const Scope scope(tape.context(), "embedding");
  return ops::Lookup(tape, *embedding_, ids);
}

Var VanillaModel::Head(Tape& tape, const Var& hidden) const {
  const Scope scope(tape.context(), "lm_head");
  return ops::Linear(tape, hidden, *head_, nullptr, compute_type());
}

std::vector<Reconstruction> VanillaModel::Forward(Tape& tape, const ModelInput& input, const ForwardOptions& options,
                                                  const LogitsSink& sink) const {
  const Context& context = tape.context();
  const AttentionPlan& plan = input.encoder(0);
  const Var hidden = stack_.Forward(tape, EmbedTokens(tape, input.ids()), plan, RopeTable(context, plan.shape.length),
                                    options.recompute);
  const int64_t per_slice = options.slice_tokens > 0 ? options.slice_tokens : input.rows();
  tape.Slices(hidden, per_slice, [&](Tape& inner, const Var& part, int64_t begin, int64_t end) {
    sink(inner, part, Head(inner, part), begin, end);
  });
  return {};
}

}  // namespace photon
