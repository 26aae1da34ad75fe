#include "study/measure.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "inference/score.h"

namespace photon::study {
namespace {

constexpr int64_t kPiecesAtOnce = 16;

}  // namespace

std::vector<std::vector<int32_t>> ScoredPieces(const TokenBatch& batch) {
  std::vector<std::vector<int32_t>> pieces;
  const auto size = static_cast<int64_t>(batch.tokens.size());
  for (int64_t i = 0; i < size; ++i) {
    const bool begins = i % batch.length == 0 || batch.document_begin[i] != batch.document_begin[i - 1];
    if (begins) pieces.emplace_back();
    if (batch.real[i] != 0) pieces.back().push_back(batch.tokens[i]);
  }
  std::erase_if(pieces, [](const std::vector<int32_t>& piece) { return piece.size() < 2; });
  return pieces;
}

absl::StatusOr<double> ModeLoss(const LoadedModel& loaded, GenerationMode mode,
                                const std::vector<std::vector<int32_t>>& pieces, int64_t exact_prefix) {
  const ScoreOptions options = {.mode = mode, .exact_prefix = mode == GenerationMode::kRec ? exact_prefix : 0};
  std::vector<ScoreRequest> requests;
  for (const std::vector<int32_t>& piece : pieces) requests.push_back({.tokens = piece});
  // Those scored together are padded to the longest.
  std::sort(requests.begin(), requests.end(),
            [](const ScoreRequest& a, const ScoreRequest& b) { return a.tokens.size() > b.tokens.size(); });
  double sum = 0;
  int64_t tokens = 0;
  for (size_t begin = 0; begin < requests.size(); begin += kPiecesAtOnce) {
    const auto some = absl::MakeConstSpan(requests).subspan(begin, kPiecesAtOnce);
    PHOTON_ASSIGN_OR_RETURN(const std::vector<SequenceScores> scores,
                            ScoreBatch(loaded.context(), loaded.model(), some, options));
    for (const SequenceScores& score : scores) {
      for (const double log_probability : score.log_probabilities) sum -= log_probability;
      tokens += static_cast<int64_t>(score.log_probabilities.size());
    }
  }
  return sum / static_cast<double>(std::max<int64_t>(tokens, 1));
}

int64_t ScoredBytes(const Tokenizer& tokenizer, const std::vector<std::vector<int32_t>>& pieces) {
  int64_t bytes = 0;
  for (const std::vector<int32_t>& piece : pieces) {
    for (size_t i = 1; i < piece.size(); ++i) bytes += static_cast<int64_t>(tokenizer.Bytes(piece[i]).size());
  }
  return bytes;
}

absl::StatusOr<Speed> MeasureSpeed(Protocol& protocol, const LanguageModel& model, GenerationMode mode, int64_t tokens,
                                   int64_t batch) {
  Speed best;
  double slowest = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kSpeedTries; ++i) {  // the fastest counts: what else a machine does only slows it down
    PHOTON_ASSIGN_OR_RETURN(const ProtocolResult result,
                            protocol.Run(model, mode, {"DE", tokens / 16, tokens}, {1, batch}, Roofline::kLeftOut));
    const ProtocolRun& largest = result.runs.back();
    slowest = std::min(slowest, largest.tokens_per_s);
    if (largest.tokens_per_s <= best.tokens_per_s) continue;
    best = {.tokens_per_s = largest.tokens_per_s,
            .bytes_per_sequence = result.memory_per_sequence,
            .tpm = result.Tpm(largest)};
  }
  best.disturbance = best.tokens_per_s / slowest;
  return best;
}

}  // namespace photon::study
