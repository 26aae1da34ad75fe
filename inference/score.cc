#include "inference/score.h"

#include "configs/model_config.h"
#include "core/status.h"
#include "inference/rows.h"
#include "inference/vocabulary.h"
#include "model/objective.h"

namespace photon {
namespace {

constexpr int64_t kSliceTokens = 256;  // logits of a slice at V = 32,000: 33 MB in fp32

}  // namespace

absl::StatusOr<std::vector<double>> ScoreTokens(const Context& context, const LanguageModel& model,
                                                absl::Span<const int32_t> tokens) {
  if (tokens.empty()) return absl::InvalidArgumentError("there are no tokens to score: give at least one");
  PHOTON_RETURN_IF_ERROR(CheckTokenIds(tokens, model.config().vocab_size(), "the tokens"));
  if (tokens.size() == 1) return std::vector<double>();

  const TokenBatch batch = TokenBatch::FromIds(tokens, ChunkProduct(model.config()), /*score_first=*/false);
  Tape tape(context, Tape::Mode::kEvaluate);
  const LossRows rows = ComputeLoss(model, tape, batch, ObjectiveConfig(), LossCounts::Of(model.config(), batch),
                                    {.slice_tokens = kSliceTokens});
  const std::vector<double> nll = ToHostDoubles(context, rows.nll);
  std::vector<double> log_probabilities;
  for (size_t i = 1; i < tokens.size(); ++i) log_probabilities.push_back(-nll[i - model.target_offset()]);
  return log_probabilities;
}

}  // namespace photon
