#include "model/vanilla.h"

#include "core/ops/matmul.h"
#include "core/ops/rows.h"
#include "core/profiler.h"
#include "model/model_input.h"

namespace photon {

VanillaModel::VanillaModel(const ModelConfig& config, ModelLayout layout)
    : LanguageModel(config, std::move(layout)),
      embedding_(AddVocabulary("embedding.weight", config.width(), /*matrix=*/false, layout_.tokens(), items_.front())),
      stack_(parameters_, plans_, "stack", config, config.layers(), layout_.EncoderStack(1)),
      head_(AddVocabulary("lm_head.weight", config.width(), /*matrix=*/true, layout_.tokens(), items_.back())) {}

Var VanillaModel::EmbedTokens(Tape& tape, const Tensor& ids) const {
  const Scope scope(tape.context(), "embedding");
  return ops::Lookup(tape, *embedding_, ids);
}

Var VanillaModel::EmbedTokens(Tape& tape, const ModelInput& input, int64_t begin, int64_t end) const {
  const Scope scope(tape.context(), "embedding");
  return Embed(tape, *embedding_, input.TokenIds(begin, end), layout_.tokens());
}

Var VanillaModel::Head(Tape& tape, const Var& hidden) const { return ApplyHead(tape, *head_, hidden); }

void VanillaModel::RunItem(Tape& tape, const ModelInput& input, const ForwardOptions& options, const ModelItem& item,
                           TokenRows rows, const LogitsSink& sink, Passage* passage) const {
  Stack::Stream& stream = passage->stream;
  if (item.kind == ModelItem::Kind::kHead) {
    sink(tape, stream.x, Head(tape, stream.x), rows.begin, rows.end);
    return;
  }
  if (item.first) {
    const Scope scope(tape.context(), "embedding");
    stream.x = Embed(tape, *embedding_, input.encoder_ids(), layout_.tokens());
  }
  Encoded encoded;
  if (RunEncoder(tape, input, options, stack_, 0, item, &stream, &encoded)) stream = {encoded.own, Var()};
}

}  // namespace photon
