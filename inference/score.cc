#include "inference/score.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/check.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/sample.h"
#include "core/rounding.h"
#include "core/status.h"
#include "inference/rows.h"
#include "inference/segment_scorer.h"
#include "inference/vocabulary.h"

namespace photon {
namespace {

using Requests = absl::Span<const ScoreRequest>;

// Positions [begin, end) of every sequence, right-padded: the tokens, the one that each row's logits score, and whether
// it is to be scored.
struct Segment {
  std::vector<int32_t> tokens, targets;
  std::vector<bool> wanted;
  Segment(Requests requests, int64_t begin, int64_t end, int offset) {
    for (const ScoreRequest& request : requests) {
      const auto size = static_cast<int64_t>(request.tokens.size());
      for (int64_t i = begin; i < end; ++i) {
        const int64_t target = i + offset;
        wanted.push_back(request.from <= target && target < size);
        tokens.push_back(i < size ? request.tokens[i] : 0);
        targets.push_back(wanted.back() ? request.tokens[target] : -1);
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

// Of the tokens that `rows` of a segment score, rows_each of every sequence.
absl::Status Take(const Context& context, DType type, const Tensor& logits, absl::Span<const int64_t> rows,
                  const Segment& segment, int64_t rows_each, Requests requests, std::vector<SequenceScores>& results) {
  std::vector<int32_t> targets;
  for (const int64_t row : rows) targets.push_back(segment.targets[row]);
  const Tensor nll = context.Empty({logits.dim(0)}, type);
  ops::CrossEntropyForward(context, logits, UploadIds(context, targets), Tensor(), nll);
  const std::vector<double> values = ToHostDoubles(context, nll);
  const std::vector<int32_t> most_likely = MostLikely(context, logits);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (targets[i] < 0) continue;
    const int64_t sequence = rows[i] / rows_each;
    SequenceScores& scores = results[sequence];
    if (!std::isfinite(values[i])) {
      return NoNumber(sequence, requests[sequence].from + scores.most_likely.size(), -values[i]);
    }
    scores.log_probabilities.push_back(values[i] == 0 ? 0 : -values[i]);
    scores.most_likely.push_back(most_likely[i] == targets[i]);
  }
  return absl::OkStatus();
}

// Scores of all sequences; results[i] gets those of its own tokens in order.
absl::Status Score(const Context& context, const LanguageModel& model, Requests requests, const ScoreOptions& options,
                   const ScoreProgress& progress, std::vector<SequenceScores>& results) {
  const int64_t meta = ChunkProduct(model.config()), count = static_cast<int64_t>(requests.size());
  int64_t longest = 0;
  for (const ScoreRequest& request : requests) longest = std::max<int64_t>(longest, request.tokens.size());
  const int64_t length = RoundUp(longest, meta);
  const bool rec = options.mode == GenerationMode::kRec && model.levels() >= 2;
  const int64_t exact = rec ? std::min(options.exact_prefix, length) : length;
  const int64_t step = RoundUp(std::max<int64_t>(options.segment_tokens / count, 1), meta);
  const auto scorer = SegmentScorer::Create(context, model, options.mode, count, length);
  for (int64_t begin = 0; begin < length;) {
    if (rec && begin == exact) scorer->BeginRec();
    const int64_t end = std::min(begin + step, begin < exact ? exact : length);
    const Segment segment(requests, begin, end, model.target_offset());
    absl::Status status;
    scorer->Read(segment.tokens, segment.wanted, [&](const Tensor& logits, absl::Span<const int64_t> rows) {
      status.Update(Take(context, model.master_type(), logits, rows, segment, end - begin, requests, results));
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
  PHOTON_RETURN_IF_ERROR(CheckMode(config, options.mode));
  if (options.exact_prefix != 0 && options.mode != GenerationMode::kRec) {
    return absl::InvalidArgumentError("exact-prefix belongs to mode rec: in other modes all tokens are read exactly");
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
  PHOTON_RETURN_IF_ERROR(Score(context, model, {ScoreRequest{tokens}}, options, progress, results));
  return std::move(results[0].log_probabilities);
}

absl::StatusOr<std::vector<SequenceScores>> ScoreBatch(const Context& context, const LanguageModel& model,
                                                       absl::Span<const ScoreRequest> requests,
                                                       const ScoreOptions& options, const ScoreProgress& progress) {
  PHOTON_RETURN_IF_ERROR(ValidateScoring(options, model.config()));
  for (const ScoreRequest& request : requests) {
    PHOTON_CHECK(request.from >= 1) << "the first token has nothing before it";
    PHOTON_RETURN_IF_ERROR(CheckSequence(request.tokens, model.config()));
  }
  std::vector<SequenceScores> results(requests.size());
  if (!requests.empty()) PHOTON_RETURN_IF_ERROR(Score(context, model, requests, options, progress, results));
  return results;
}

absl::StatusOr<std::vector<SequenceScores>> ScoreBatch(const Context& context, const LanguageModel& model,
                                                       absl::Span<const std::vector<int32_t>> sequences,
                                                       const ScoreOptions& options, const ScoreProgress& progress) {
  std::vector<ScoreRequest> requests;
  for (const std::vector<int32_t>& sequence : sequences) requests.push_back({.tokens = sequence});
  return ScoreBatch(context, model, requests, options, progress);
}

}  // namespace photon
