#include "model/language_model.h"

#include <algorithm>

#include "configs/model_config.h"
#include "core/ops/matmul.h"
#include "core/ops/rope.h"
#include "core/ops/rows.h"
#include "core/profiler.h"
#include "model/model_input.h"
#include "model/photon.h"
#include "model/vanilla.h"
#include "parallel/tape_collectives.h"

namespace photon {

std::unique_ptr<LanguageModel> LanguageModel::Create(const ModelConfig& config, ModelLayout layout) {
  if (config.levels_size() == 0) return std::make_unique<VanillaModel>(config, std::move(layout));
  return std::make_unique<PhotonModel>(config, std::move(layout));
}

int64_t LanguageModel::SliceRows(int64_t slice_tokens, int64_t rows) const {
  if (slice_tokens <= 0) return rows;
  if (levels() == 0) return slice_tokens;
  // Whole chunks, and as many as divide among ranks that split the decoder's heads.
  const int64_t chunk = config_.levels(0).chunk();
  const int64_t least = layout_.DecoderStack(1).tensor != nullptr ? chunk * layout_.tp().size() : chunk;
  return std::max(least, slice_tokens / least * least);
}

LanguageModel::Passage LanguageModel::Begin() const {
  Passage passage;
  passage.encoded.resize(levels() + 1);
  passage.contents.resize(levels() + 1);
  return passage;
}

std::vector<Reconstruction> LanguageModel::Forward(Tape& tape, const ModelInput& input, const ForwardOptions& options,
                                                   const LogitsSink& sink) const {
  Passage passage = Begin();
  RunItems(tape, input, options, 0, static_cast<int>(items_.size()), sink, &passage);
  return std::move(passage.reconstructions);
}

void LanguageModel::RunItems(Tape& tape, const ModelInput& input, const ForwardOptions& options, int begin, int end,
                             const LogitsSink& sink, Passage* passage, const AfterItem& done) const {
  const auto of_tokens = [](const ModelItem& item) {
    return item.kind == ModelItem::Kind::kHead || (item.kind == ModelItem::Kind::kDecoder && item.level == 1);
  };
  const auto tail = static_cast<int>(std::find_if(items_.begin(), items_.end(), of_tokens) - items_.begin());
  const auto head = static_cast<int>(items_.size()) - 1;
  const int sliced = end <= head ? end : begin <= tail ? tail : head;
  for (int i = begin; i < sliced; ++i) {
    RunItem(tape, input, options, items_[i], {0, input.rows()}, sink, passage);
    if (done) done(i, *passage);
  }
  if (sliced == end) return;
  const int64_t each = sliced == head ? 1 : config_.levels(0).chunk();  // tokens for a row of the stream
  const int64_t slice = SliceRows(options.slice_tokens, input.rows()) / each;
  tape.Slices(passage->stream.x, slice, [&](Tape& inner, const Var& rows, int64_t first, int64_t last) {
    Passage part = Begin();
    part.stream.x = rows;
    for (int i = sliced; i < end; ++i)
      RunItem(inner, input, options, items_[i], {first * each, last * each}, sink, &part);
  });
}

bool LanguageModel::RunEncoder(Tape& tape, const ModelInput& input, const ForwardOptions& options, const Stack& stack,
                               int l, const ModelItem& item, Stack::Stream* stream, Encoded* encoded) const {
  const Context& context = tape.context();
  const AttentionPlan& plan = input.encoder(l);
  const bool everywhere = layout_.everywhere(item.level);
  Communicator& spans = layout_.spans(Share::kWhole);
  const int64_t sequences = input.sequences();
  if (item.first) {
    Var x = stream->x;
    if (everywhere) {
      const int64_t length = x.value.dim(0) / sequences;
      x = AllGatherRows(tape, spans, "inputs of an encoder", x, Then::kParts);
      if (sequences > 1)
        x = ops::SelectRows(tape, x, Var(), plans_.BySequence(context, sequences, spans.size(), length));
    }
    *stream = stack.Enter(tape, x);
  }
  *stream = stack.Layers(tape, *stream, item.begin, item.end, plan, RopeTable(context, plan.end), options.recompute);
  if (!item.last) return false;
  const Var out = stack.Leave(tape, *stream);
  *encoded = {out, Var()};
  if (everywhere) {
    const int64_t length = out.value.dim(0) / sequences / spans.size();
    const Tensor own = plans_.OfSpan(context, sequences, spans.rank(), spans.size(), length);
    *encoded = {ops::SelectRows(tape, out, Var(), own), out};
  }
  return true;
}

const Weight* LanguageModel::AddVocabulary(const char* name, int64_t width, bool matrix, Share share,
                                           const ModelItem& item) {
  if (!layout_.Here(item.kind, item.level, item.begin)) return nullptr;
  const Placement placement = layout_.In(layout_.Vocabulary(share), item.kind, item.level, item.begin);
  return parameters_.Add({{name, {config_.vocab_size(), width}, {.mean = 0, .stddev = 0.02}, matrix, placement}},
                         /*compute_copy=*/matrix);
}

Var LanguageModel::Embed(Tape& tape, const Weight& table, const Tensor& ids, Share share) const {
  if (!layout_.splits_vocabulary()) return ops::Lookup(tape, table, ids);
  const Var partial = ops::LookupPart(tape, table, ids);
  constexpr char kWhat[] = "embeddings";
  return share == Share::kWhole ? SumPartial(tape, layout_.tp(), kWhat, partial)
                                : ReduceScatterRows(tape, layout_.tp(), kWhat, partial);
}

Var LanguageModel::ApplyHead(Tape& tape, const Weight& head, const Var& hidden) const {
  const Scope scope(tape.context(), "lm_head");
  if (!layout_.splits_vocabulary()) return ops::Linear(tape, hidden, head, nullptr, compute_type());
  constexpr char kWhat[] = "what the head reads";
  const Var rows = layout_.tokens() == Share::kWhole
                       ? ToParts(tape, layout_.tp(), kWhat, hidden)
                       : AllGatherRows(tape, layout_.tp(), kWhat, hidden, Then::kParts, compute_type());
  return ops::Linear(tape, rows, head, nullptr, compute_type());
}

Tensor LanguageModel::RopeTable(const Context& context, int64_t positions) const {
  absl::MutexLock lock(&rope_mutex_);
  if (rope_tables_.empty() || rope_tables_.back().dim(0) < positions) {
    const int64_t rows = rope_tables_.empty() ? positions : std::max(positions, 2 * rope_tables_.back().dim(0));
    rope_tables_.push_back(ops::RopeTable(context, rows, HeadDim(config_), config_.rope_theta(), master_type()));
  }
  return rope_tables_.back();
}

}  // namespace photon
