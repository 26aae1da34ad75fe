#include "model/photon.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/ops/matmul.h"
#include "core/ops/rows.h"
#include "core/profiler.h"
#include "model/model_input.h"
#include "parallel/tape_collectives.h"

namespace photon {
namespace {

constexpr Init kSmall = {.mean = 0, .stddev = 0.02};

// Assembles a level's windows, or reads from them.
Var SelectInWindows(Tape& tape, const Level& level, const Var& a, const Var& b, const Tensor& index) {
  const Scope scope(tape.context(), absl::StrCat("level.", level.index, ".windows"));
  return ops::SelectRows(tape, a, b, index);
}

}  // namespace

PhotonModel::PhotonModel(const ModelConfig& config, ModelLayout layout) : LanguageModel(config, std::move(layout)) {
  using enum ModelItem::Kind;
  const int top = levels();
  encoder_embedding_ = AddVocabulary("encoder_embedding.weight", config.width() / config.levels(0).chunk(),
                                     /*matrix=*/false, layout_.encoder(1), First(kEncoder, 1));
  decoder_embedding_ =
      AddVocabulary("decoder_embedding.weight", config.width(), /*matrix=*/false, layout_.tokens(), First(kDecoder, 1));
  for (int l = 1; l <= top; ++l) {
    const LevelConfig& c = config.levels(l - 1);
    const std::string p = absl::StrCat("level.", l, ".");
    // Beside the item whose output is shifted.
    const ModelItem& source = l == top ? Last(kEncoder, top) : Last(kDecoder, l + 1);
    const std::optional<Placement> start = PlaceAt(source, layout_.shift(l));
    // Chunks are made in the share of the encoder below: after that there is less to move.
    const Share chunks = layout_.encoder(std::max(l - 1, 1));
    levels_.push_back(
        {.index = l,
         .chunk = c.chunk(),
         .prefix = c.prefix(),
         .chunker = Chunker(parameters_, config, l, PlaceAt(First(kEncoder, l), chunks)),
         .encoder = Stack(parameters_, plans_, p + "encoder", config, c.encoder_layers(), layout_.EncoderStack(l)),
         .converter = Converter(parameters_, config, l, PlaceAt(First(kDecoder, l), layout_.decoder(l))),
         .decoder = Stack(parameters_, plans_, p + "decoder", config, c.decoder_layers(), layout_.DecoderStack(l)),
         .start = shifts(l) && start.has_value()
                      ? parameters_.Add({{p + "start", {config.width()}, kSmall, false, *start}})
                      : nullptr});
  }
  head_ = AddVocabulary("lm_head.weight", config.width(), /*matrix=*/true, layout_.tokens(), items_.back());
}

const ModelItem& PhotonModel::First(ModelItem::Kind kind, int l) const {
  return *std::find_if(items_.begin(), items_.end(),
                       [&](const ModelItem& item) { return item.kind == kind && item.level == l; });
}

const ModelItem& PhotonModel::Last(ModelItem::Kind kind, int l) const {
  return *std::find_if(items_.rbegin(), items_.rend(),
                       [&](const ModelItem& item) { return item.kind == kind && item.level == l; });
}

std::optional<Placement> PhotonModel::PlaceAt(const ModelItem& item, Share share) const {
  if (!layout_.Here(item.kind, item.level, item.begin)) return std::nullopt;
  return layout_.In(layout_.ReplicatedIn(share), item.kind, item.level, item.begin);
}

Var PhotonModel::EmbedForEncoder(Tape& tape, const Tensor& ids) const {
  const Scope scope(tape.context(), "encoder_embedding");
  return ops::Lookup(tape, *encoder_embedding_, ids);
}

Var PhotonModel::EmbedTokens(Tape& tape, const Tensor& ids) const {
  const Scope scope(tape.context(), "decoder_embedding");
  return ops::Lookup(tape, *decoder_embedding_, ids);
}

Var PhotonModel::EmbedTokens(Tape& tape, const ModelInput& input, int64_t begin, int64_t end) const {
  const Scope scope(tape.context(), "decoder_embedding");
  return Embed(tape, *decoder_embedding_, input.TokenIds(begin, end), layout_.tokens());
}

Var PhotonModel::Head(Tape& tape, const Var& hidden) const { return ApplyHead(tape, *head_, hidden); }

Var PhotonModel::Shift(Tape& tape, const ModelInput& input, int l, const Encoded& x) const {
  const Scope scope(tape.context(), "shift");
  const Share share = layout_.shift(l);
  Communicator& spans = layout_.spans(share);
  const auto in_decoders_share = [&](const Var& shifted) {
    return layout_.Convert(tape, plans_, "what a decoder reads", shifted, input.sequences(), share, layout_.decoder(l));
  };
  if (!shifts(l)) return in_decoders_share(x.own);
  const Weight& start = *level(l).start;
  const bool all_here = x.all.value.defined();
  if (spans.size() == 1 || all_here)
    return in_decoders_share(ops::SelectOrStart(tape, all_here ? x.all : x.own, start, input.shift(l)));
  // The last unit of the span before: one vector a sequence.
  const Context& context = tape.context();
  const int64_t sequences = input.sequences();
  const Tensor last = plans_.LastOfEach(context, sequences, x.own.value.dim(0) / sequences);
  const Var before = FromRankBefore(tape, spans, "shift", ops::SelectRows(tape, x.own, Var(), last));
  const Var starts = ops::SelectOrStart(tape, before, start, plans_.AfterOne(context, sequences));
  return in_decoders_share(ops::SelectRows(tape, x.own, starts, input.shift(l)));
}

WindowPlan PhotonModel::Windows(const Context& context, const Level& level, int64_t units) const {
  return plans().Windows(context, units, level.prefix, level.chunk - 1, level.chunk);
}

PhotonModel::Stream PhotonModel::EnterWindows(Tape& tape, const Level& level, const Var& prefixes,
                                              const Var& contents) const {
  const WindowPlan plan = Windows(tape.context(), level, prefixes.value.dim(0) / level.prefix);
  return level.decoder.Enter(tape, SelectInWindows(tape, level, contents, prefixes, plan.assemble));
}

PhotonModel::Stream PhotonModel::RunWindows(Tape& tape, const Level& level, const Stream& in, int64_t units, int begin,
                                            int end) const {
  const AttentionPlan plan = Windows(tape.context(), level, units).attention;
  return level.decoder.Layers(tape, in, begin, end, plan, RopeTable(tape.context(), plan.end), /*recompute=*/false);
}

Var PhotonModel::ReadOut(Tape& tape, const Level& level, const Stream& in, int64_t units) const {
  const Tensor index = Windows(tape.context(), level, units).read_out;
  return SelectInWindows(tape, level, level.decoder.Leave(tape, in), Var(), index);
}

Var PhotonModel::DecodeOwn(Tape& tape, const Level& level, const Var& prefixes, int64_t units) const {
  Var outputs;  // Xh of slots 1..j, [units * j, D]
  for (int64_t j = 0; j < level.chunk; ++j) {
    const WindowPlan plan = plans().Windows(tape.context(), units, level.prefix, j, j);
    const Var windows = j == 0 ? prefixes : SelectInWindows(tape, level, outputs, prefixes, plan.assemble);
    const Tensor rope = RopeTable(tape.context(), plan.attention.end);
    const Var out = level.decoder.Forward(tape, windows, plan.attention, rope, /*recompute=*/false);
    const Var slot = SelectInWindows(tape, level, out, Var(), plan.last);  // [units, D]
    outputs =
        j == 0 ? slot : SelectInWindows(tape, level, outputs, slot, plans().AppendColumn(tape.context(), units, j));
  }
  return outputs;
}

Var PhotonModel::DecodeLevel(Tape& tape, int l, const Var& s, const Var& contents) const {
  const Level& level = this->level(l);
  const int64_t units = s.value.dim(0);
  const Var prefixes = level.converter.Forward(tape, s);
  if (!contents.value.defined()) return DecodeOwn(tape, level, prefixes, units);
  const Stream windows = EnterWindows(tape, level, prefixes, contents);
  return ReadOut(tape, level, RunWindows(tape, level, windows, units, 0, level.decoder.layers()), units);
}

void PhotonModel::RunItem(Tape& tape, const ModelInput& input, const ForwardOptions& options, const ModelItem& item,
                          TokenRows rows, const LogitsSink& sink, Passage* passage) const {
  switch (item.kind) {
    case ModelItem::Kind::kEncoder:
      return RunEncoderItem(tape, input, options, item, passage);
    case ModelItem::Kind::kDecoder:
      return RunDecoderItem(tape, input, item, rows, passage);
    case ModelItem::Kind::kHead:
      return sink(tape, passage->stream.x, Head(tape, passage->stream.x), rows.begin, rows.end);
  }
}

void PhotonModel::RunEncoderItem(Tape& tape, const ModelInput& input, const ForwardOptions& options,
                                 const ModelItem& item, Passage* passage) const {
  const int l = item.level;
  Stream& stream = passage->stream;
  if (item.first) {
    if (l == 1) {
      const Scope scope(tape.context(), "encoder_embedding");
      stream.x = Embed(tape, *encoder_embedding_, input.encoder_ids(), layout_.encoder(1));
    }
    stream.x = layout_.Convert(tape, plans_, "chunks", level(l).chunker.Forward(tape, stream.x), input.sequences(),
                               layout_.encoder(std::max(l - 1, 1)), layout_.encoder(l));
  }
  if (!RunEncoder(tape, input, options, level(l).encoder, l, item, &stream, &passage->encoded[l])) return;
  stream = {l == levels() ? Shift(tape, input, l, passage->encoded[l]) : passage->encoded[l].own, Var()};
}

void PhotonModel::RunDecoderItem(Tape& tape, const ModelInput& input, const ModelItem& item, TokenRows rows,
                                 Passage* passage) const {
  const int l = item.level;
  const Level& level = this->level(l);
  Stream& stream = passage->stream;
  const int64_t units = l == 1 ? (rows.end - rows.begin) / level.chunk : input.unit_mask(l).dim(0) / level.chunk;
  if (l > 1 && config_.contents() == ModelConfig::RECONSTRUCTED) {
    stream = {DecodeLevel(tape, l, stream.x, Var()), Var()};
  } else {
    if (item.first) {
      const Var contents = l == 1 ? EmbedTokens(tape, input, rows.begin, rows.end) : Contents(tape, input, l, passage);
      stream = EnterWindows(tape, level, level.converter.Forward(tape, stream.x), contents);
    }
    stream = RunWindows(tape, level, stream, units, item.begin, item.end);
    if (item.last) stream = {ReadOut(tape, level, stream, units), Var()};
  }
  if (!item.last || l == 1) return;
  passage->reconstructions.push_back({l, stream.x, Contents(tape, input, l, passage)});
  stream.x = Shift(tape, input, l - 1, {stream.x, Var()});
}

Var PhotonModel::Contents(Tape& tape, const ModelInput& input, int l, Passage* passage) const {
  Var& contents = passage->contents[l];
  if (!contents.value.defined()) {
    contents = layout_.Convert(tape, plans_, "contents", passage->encoded[l - 1].own, input.sequences(),
                               layout_.encoder(l - 1), layout_.decoder(l));
  }
  return contents;
}

}  // namespace photon
