#include "inference/score.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/status.h"
#include "inference/segment_scorer.h"
#include "inference/vocabulary.h"

namespace photon {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

using Sequences = absl::Span<const absl::Span<const int32_t>>;

// Positions [begin, end) of every sequence, right-padded: the tokens, and the one that each row's logits score (-1:
// none).
struct Segment {
  std::vector<int32_t> tokens, targets;
  Segment(Sequences sequences, int64_t begin, int64_t end, int offset) {
    for (const absl::Span<const int32_t> sequence : sequences) {
      const auto at = [&](int64_t i) { return i < static_cast<int64_t>(sequence.size()) ? sequence[i] : -1; };
      for (int64_t i = begin; i < end; ++i) {
        tokens.push_back(std::max(at(i), 0));
        targets.push_back(i + offset == 0 ? -1 : at(i + offset));  // the first token is never scored
      }
    }
  }
};

absl::Status NoNumber(int64_t sequence, size_t token, double value) {
  return absl::DataLossError(absl::StrCat("the log-probability of token ", token, " of sequence ", sequence,
                                          " (both counted from 0) is ", value,
                                          ": the model's weights are damaged, or its training diverged; take an "
                                          "earlier checkpoint"));
}

// Log-probabilities of all sequences; results[i] gets those of its own tokens in order.
absl::Status Score(const Context& context, const LanguageModel& model, Sequences sequences, const ScoreOptions& options,
                   const ScoreProgress& progress, std::vector<std::vector<double>>& results) {
  const int64_t meta = ChunkProduct(model.config()), count = static_cast<int64_t>(sequences.size());
  int64_t longest = 0;
  for (const auto& sequence : sequences) longest = std::max<int64_t>(longest, sequence.size());
  const int64_t length = RoundUp(longest, meta), offset = model.target_offset();
  const bool rec = options.mode == GenerationMode::kRec && model.levels() >= 2;
  const int64_t exact = rec ? std::min(options.exact_prefix, length) : length;
  const int64_t step = RoundUp(std::max<int64_t>(options.segment_tokens / count, 1), meta);
  const auto scorer = SegmentScorer::Create(context, model, count, length);
  for (int64_t begin = 0; begin < length;) {
    if (rec && begin == exact) scorer->BeginRec();
    const int64_t end = std::min(begin + step, begin < exact ? exact : length);
    const Segment segment(sequences, begin, end, static_cast<int>(offset));
    const std::vector<double> values = scorer->Read(segment.tokens, segment.targets);
    for (size_t i = 0; i < values.size(); ++i) {
      if (segment.targets[i] < 0) continue;
      std::vector<double>& result = results[i / (end - begin)];
      if (!std::isfinite(values[i])) return NoNumber(i / (end - begin), result.size() + 1, values[i]);
      result.push_back(values[i]);
    }
    begin = end;
    if (progress) progress(std::min(begin, longest) * count);
  }
  return absl::OkStatus();
}

absl::Status CheckSequence(absl::Span<const int32_t> tokens, const ModelConfig& config) {
  if (tokens.empty()) return absl::InvalidArgumentError("there are no tokens to score: give at least one");
  return CheckTokenIds(tokens, config.vocab_size(), "the tokens");
}

}  // namespace

absl::Status ValidateScoring(const ScoreOptions& options, const ModelConfig& config) {
  if (options.mode == GenerationMode::kHierParallel) {
    return absl::InvalidArgumentError("mode hier-parallel has no likelihood of given tokens: score with hier or rec");
  }
  PHOTON_RETURN_IF_ERROR(CheckMode(config, options.mode));
  if (options.exact_prefix != 0 && options.mode != GenerationMode::kRec) {
    return absl::InvalidArgumentError("exact-prefix belongs to mode rec: in hier all tokens are read exactly");
  }
  const int64_t meta = ChunkProduct(config), prefix = options.exact_prefix;
  if (prefix >= 0 && prefix % meta == 0) return absl::OkStatus();
  const std::string nearest = prefix < 0 ? "0" : absl::StrCat(prefix / meta * meta, " or ", RoundUp(prefix, meta));
  return absl::InvalidArgumentError(absl::StrCat("exact-prefix is ", prefix, ": it must be a multiple of ", meta,
                                                 ", the model's meta-context; give ", nearest));
}

absl::StatusOr<std::vector<double>> ScoreTokens(const Context& context, const LanguageModel& model,
                                                absl::Span<const int32_t> tokens, const ScoreOptions& options,
                                                const ScoreProgress& progress) {
  PHOTON_RETURN_IF_ERROR(ValidateScoring(options, model.config()));
  PHOTON_RETURN_IF_ERROR(CheckSequence(tokens, model.config()));
  std::vector<std::vector<double>> results(1);
  PHOTON_RETURN_IF_ERROR(Score(context, model, {tokens}, options, progress, results));
  return std::move(results[0]);
}

absl::StatusOr<std::vector<std::vector<double>>> ScoreBatch(const Context& context, const LanguageModel& model,
                                                            absl::Span<const std::vector<int32_t>> sequences,
                                                            const ScoreOptions& options,
                                                            const ScoreProgress& progress) {
  PHOTON_RETURN_IF_ERROR(ValidateScoring(options, model.config()));
  std::vector<absl::Span<const int32_t>> spans;
  for (const std::vector<int32_t>& sequence : sequences) {
    PHOTON_RETURN_IF_ERROR(CheckSequence(sequence, model.config()));
    spans.push_back(sequence);
  }
  std::vector<std::vector<double>> results(spans.size());
  if (!spans.empty()) PHOTON_RETURN_IF_ERROR(Score(context, model, spans, options, progress, results));
  return results;
}

}  // namespace photon
