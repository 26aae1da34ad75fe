#include "model/photon.h"

#include "absl/strings/str_cat.h"
#include "core/ops/matmul.h"
#include "core/ops/rows.h"
#include "core/profiler.h"
#include "model/model_input.h"

namespace photon {
namespace {

constexpr Init kSmall = {.mean = 0, .stddev = 0.02};

// Assembles a level's windows, or reads from them.
Var SelectInWindows(Tape& tape, const Level& level, const Var& a, const Var& b, const Tensor& index) {
  const Scope scope(tape.context(), absl::StrCat("level.", level.index, ".windows"));
  return ops::SelectRows(tape, a, b, index);
}

}  // namespace

PhotonModel::PhotonModel(const ModelConfig& config) : LanguageModel(config) {
  const int64_t v = config.vocab_size(), d = config.width();
  const int top = config.levels_size();
  encoder_embedding_ =
      parameters_.Add({{"encoder_embedding.weight", {v, d / config.levels(0).chunk()}, kSmall, false, {}}});
  decoder_embedding_ = parameters_.Add({{"decoder_embedding.weight", {v, d}, kSmall, false, {}}});
  for (int l = 1; l <= top; ++l) {
    const LevelConfig& c = config.levels(l - 1);
    const std::string p = absl::StrCat("level.", l, ".");
    const bool shifts = l == top || config.shift() == ModelConfig::ALL;
    levels_.push_back({.index = l,
                       .chunk = c.chunk(),
                       .prefix = c.prefix(),
                       .chunker = Chunker(parameters_, config, l),
                       .encoder = Stack(parameters_, p + "encoder", config, c.encoder_layers()),
                       .converter = Converter(parameters_, config, l),
                       .decoder = Stack(parameters_, p + "decoder", config, c.decoder_layers()),
                       .start = shifts ? parameters_.Add({{p + "start", {d}, kSmall, false, {}}}) : nullptr});
  }
  head_ = parameters_.Add({{"lm_head.weight", {v, d}, kSmall, true, {}}}, /*compute_copy=*/true);
}

Var PhotonModel::EmbedForEncoder(Tape& tape, const Tensor& ids) const {
  const Scope scope(tape.context(), "encoder_embedding");
  return ops::Lookup(tape, *encoder_embedding_, ids);
}

Var PhotonModel::EmbedTokens(Tape& tape, const Tensor& ids) const {
  const Scope scope(tape.context(), "decoder_embedding");
  return ops::Lookup(tape, *decoder_embedding_, ids);
}

Var PhotonModel::Head(Tape& tape, const Var& hidden) const {
  const Scope scope(tape.context(), "lm_head");
  return ops::Linear(tape, hidden, *head_, nullptr, compute_type());
}

std::vector<Var> PhotonModel::Encode(Tape& tape, const ModelInput& input, const ForwardOptions& options) const {
  const Context& context = tape.context();
  std::vector<Var> states = {EmbedForEncoder(tape, input.ids())};  // states[l] is X^l, states[0] is E0
  for (const Level& level : levels_) {
    const Var chunks = level.chunker.Forward(tape, states.back());  // A^l [M_l, D]
    const AttentionPlan& plan = input.encoder(level.index);
    states.push_back(
        level.encoder.Forward(tape, chunks, plan, RopeTable(context, plan.shape.length), options.recompute));
  }
  return states;
}

Var PhotonModel::Shift(Tape& tape, const ModelInput& input, int l, const Var& x) const {
  const Scope scope(tape.context(), "shift");
  return ops::SelectOrStart(tape, x, *level(l).start, input.shift(l));
}

Var PhotonModel::DecodeGiven(Tape& tape, const Level& level, const Var& prefixes, int64_t units,
                             const Var& contents) const {
  const WindowPlan plan = plans().Windows(tape.context(), units, level.prefix, level.chunk - 1, level.chunk);
  const Var windows = SelectInWindows(tape, level, contents, prefixes, plan.assemble);
  const Tensor rope = RopeTable(tape.context(), plan.attention.shape.length);
  const Var out = level.decoder.Forward(tape, windows, plan.attention, rope, /*recompute=*/false);
  return SelectInWindows(tape, level, out, Var(), plan.read_out);
}

Var PhotonModel::DecodeOwn(Tape& tape, const Level& level, const Var& prefixes, int64_t units) const {
  Var outputs;  // Xh of slots 1..j, [units * j, D]
  for (int64_t j = 0; j < level.chunk; ++j) {
    const WindowPlan plan = plans().Windows(tape.context(), units, level.prefix, j, j);
    const Var windows = j == 0 ? prefixes : SelectInWindows(tape, level, outputs, prefixes, plan.assemble);
    const Tensor rope = RopeTable(tape.context(), plan.attention.shape.length);
    const Var out = level.decoder.Forward(tape, windows, plan.attention, rope, /*recompute=*/false);
    const Var slot = SelectInWindows(tape, level, out, Var(), plan.last);  // [units, D]
    outputs =
        j == 0 ? slot : SelectInWindows(tape, level, outputs, slot, plans().AppendColumn(tape.context(), units, j));
  }
  return outputs;
}

Var PhotonModel::DecodeLevel(Tape& tape, int l, const Var& s, const Var& contents) const {
  const int64_t units = s.value.dim(0);
  const Var prefixes = level(l).converter.Forward(tape, s);
  if (contents.value.defined()) return DecodeGiven(tape, level(l), prefixes, units, contents);
  return DecodeOwn(tape, level(l), prefixes, units);
}

std::vector<Reconstruction> PhotonModel::Forward(Tape& tape, const ModelInput& input, const ForwardOptions& options,
                                                 const LogitsSink& sink) const {
  const std::vector<Var> states = Encode(tape, input, options);
  std::vector<Reconstruction> reconstructions;
  Var s = states.back();
  for (int l = levels(); l >= 2; --l) {
    if (shifts(l)) s = Shift(tape, input, l, s);
    const bool given = config_.contents() == ModelConfig::ENCODED;
    s = DecodeLevel(tape, l, s, given ? states[l - 1] : Var());
    reconstructions.push_back({l, s, states[l - 1]});
  }
  if (shifts(1)) s = Shift(tape, input, 1, s);

  const int64_t chunk = level(1).chunk, units = s.value.dim(0);
  const int64_t per_slice = options.slice_tokens > 0 ? std::max<int64_t>(1, options.slice_tokens / chunk) : units;
  tape.Slices(s, per_slice, [&](Tape& inner, const Var& rows, int64_t begin, int64_t end) {
    const Var tokens = EmbedTokens(inner, input.ids().Rows(begin * chunk, end * chunk));
    const Var hidden = DecodeLevel(inner, 1, rows, tokens);
    sink(inner, hidden, Head(inner, hidden), begin * chunk, end * chunk);
  });
  return reconstructions;
}

}  // namespace photon
