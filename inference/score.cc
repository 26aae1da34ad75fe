#include "inference/score.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/sample.h"
#include "core/status.h"
#include "inference/rows.h"
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

// The most likely token of each row of logits [n, V].
std::vector<int32_t> MostLikely(const Context& context, const Tensor& logits) {
  const int64_t rows = logits.dim(0), width = logits.dim(1);
  std::vector<int32_t> tokens(rows);
  if (logits.dtype() == DType::kF64) {  // which SampleRows doesn't take
    const std::vector<double> values = ToHostDoubles(context, logits);
    for (int64_t i = 0; i < rows; ++i) {
      const auto row = values.begin() + i * width;
      tokens[i] = static_cast<int32_t>(std::max_element(row, row + width) - row);
    }
    return tokens;
  }
  std::vector<double> settings;
  for (int64_t i = 0; i < rows; ++i) settings.insert(settings.end(), {/*temperature*/ 0, /*top_p*/ 1, 0, 1});
  const std::vector<int64_t> zeros(2 * rows);
  const Tensor streams = context.FromHost(zeros.data(), {rows, 2}, DType::kI64);
  const ops::SampleParameters greedy = {.settings = context.FromHost(settings.data(), {rows, 4}, DType::kF64),
                                        .top_k = UploadIds(context, std::vector<int32_t>(rows)),
                                        .streams = streams,
                                        .index = context.FromHost(zeros.data(), {rows}, DType::kI64)};
  const Tensor ids = context.Empty({rows}, DType::kI32);
  ops::SampleRows(context, logits, greedy, ids, Tensor());
  context.ToHost(ids, tokens.data());
  return tokens;
}

absl::Status NoNumber(int64_t sequence, size_t token, double value) {
  return absl::DataLossError(absl::StrCat("the log-probability of token ", token, " of sequence ", sequence,
                                          " (both counted from 0) is ", value,
                                          ": the model's weights are damaged, or its training diverged; take an "
                                          "earlier checkpoint"));
}

// Scores of all sequences; results[i] gets those of its own tokens in order.
absl::Status Score(const Context& context, const LanguageModel& model, Sequences sequences, const ScoreOptions& options,
                   const ScoreProgress& progress, std::vector<SequenceScores>& results) {
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
    absl::Status status;
    scorer->Read(segment.tokens, [&](const Tensor& logits, int64_t first) {
      const auto targets = absl::MakeConstSpan(segment.targets).subspan(first, logits.dim(0));
      const Tensor nll = context.Empty({logits.dim(0)}, model.master_type());
      ops::CrossEntropyForward(context, logits, UploadIds(context, targets), Tensor(), nll);
      const std::vector<double> values = ToHostDoubles(context, nll);
      const std::vector<int32_t> most_likely = MostLikely(context, logits);
      for (size_t i = 0; i < targets.size(); ++i) {
        if (targets[i] < 0) continue;
        const int64_t sequence = (first + static_cast<int64_t>(i)) / (end - begin);
        SequenceScores& scores = results[sequence];
        if (!std::isfinite(values[i])) status.Update(NoNumber(sequence, scores.most_likely.size() + 1, -values[i]));
        scores.log_probabilities.push_back(values[i] == 0 ? 0 : -values[i]);
        scores.most_likely.push_back(most_likely[i] == targets[i]);
      }
    });
    PHOTON_RETURN_IF_ERROR(status);
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
  std::vector<SequenceScores> results(1);
  PHOTON_RETURN_IF_ERROR(Score(context, model, {tokens}, options, progress, results));
  return std::move(results[0].log_probabilities);
}

absl::StatusOr<std::vector<SequenceScores>> ScoreBatch(const Context& context, const LanguageModel& model,
                                                       absl::Span<const std::vector<int32_t>> sequences,
                                                       const ScoreOptions& options, const ScoreProgress& progress) {
  PHOTON_RETURN_IF_ERROR(ValidateScoring(options, model.config()));
  std::vector<absl::Span<const int32_t>> spans;
  for (const std::vector<int32_t>& sequence : sequences) {
    PHOTON_RETURN_IF_ERROR(CheckSequence(sequence, model.config()));
    spans.push_back(sequence);
  }
  std::vector<SequenceScores> results(spans.size());
  if (!spans.empty()) PHOTON_RETURN_IF_ERROR(Score(context, model, spans, options, progress, results));
  return results;
}

}  // namespace photon
