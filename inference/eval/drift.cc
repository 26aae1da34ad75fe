#include "inference/eval/drift.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/cpu/parallel_for.h"
#include "core/rounding.h"
#include "core/status.h"
#include "inference/rows.h"
#include "inference/score.h"
#include "inference/segment_scorer.h"
#include "inference/vocabulary.h"

namespace photon::eval {
namespace {

struct Normaliser {
  int64_t most_likely;  // of equals the first
  double log_sum;
};
Normaliser Normalise(absl::Span<const double> logits) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - *largest);
  return {largest - logits.begin(), *largest + std::log(sum)};
}

// Both readings of the same sequences, in step; at most as many as are a slice of logits by a meta-context each.
class Readings {
 public:
  Readings(const Context& context, const LanguageModel& model, absl::Span<const std::vector<int32_t>> sequences,
           const DriftOptions& options, DriftTally* tally)
      : context_(context),
        model_(model),
        sequences_(sequences),
        options_(options),
        count_(static_cast<int64_t>(sequences.size())),
        length_(static_cast<int64_t>(sequences[0].size())),
        meta_(ChunkProduct(model.config())),
        exact_(SegmentScorer::Create(context, model, GenerationMode::kHier, count_, length_)),
        other_(SegmentScorer::Create(context, model, options.mode, count_, length_)),
        tally_(*tally) {}

  static int64_t MostSequences(const ModelConfig& config) {
    return std::max<int64_t>(SegmentScorer::kSliceTokens / ChunkProduct(config), 1);
  }

  // `progress` hears how many tokens of each were read.
  absl::Status Run(const std::function<void(int64_t tokens)>& progress) {
    constexpr int64_t kPrefixTokens = 2048;  // read at a time, as in score.h
    for (int64_t begin = 0; begin < length_;) {
      const bool exact = begin < options_.prefix;
      if (begin == options_.prefix && options_.mode == GenerationMode::kRec && model_.levels() >= 2) other_->BeginRec();
      // Behind the prefix no more than one slice, as the logits of both are held.
      const int64_t fit = (exact ? kPrefixTokens : SegmentScorer::kSliceTokens) / (count_ * meta_);
      const int64_t end =
          std::min(begin + std::max<int64_t>(fit, 1) * meta_, exact ? options_.prefix : RoundUp(length_, meta_));
      const std::vector<int32_t> tokens = Tokens(begin, end);
      if (exact) {
        const std::vector<bool> none(tokens.size(), false);
        exact_->Read(tokens, none, nullptr);
        other_->Read(tokens, none, nullptr);
      } else {
        PHOTON_RETURN_IF_ERROR(CompareSegment(tokens, begin, end));
      }
      begin = end;
      progress(std::min(begin, length_));
    }
    return absl::OkStatus();
  }

 private:
  // Positions [begin, end) of every sequence, right-padded.
  std::vector<int32_t> Tokens(int64_t begin, int64_t end) const {
    std::vector<int32_t> tokens;
    for (const std::vector<int32_t>& sequence : sequences_) {
      for (int64_t i = begin; i < end; ++i) tokens.push_back(i < length_ ? sequence[i] : 0);
    }
    return tokens;
  }

  absl::Status CompareSegment(absl::Span<const int32_t> tokens, int64_t begin, int64_t end) {
    const std::vector<bool> all(tokens.size(), true);
    std::vector<double> exact;
    exact_->Read(tokens, all, [&](const Tensor& logits, absl::Span<const int64_t>) {
      const std::vector<double> rows = ToHostDoubles(context_, logits);
      exact.insert(exact.end(), rows.begin(), rows.end());
    });
    absl::Status status;
    other_->Read(tokens, all, [&](const Tensor& logits, absl::Span<const int64_t> rows) {
      const std::vector<double> other = ToHostDoubles(context_, logits);
      const int64_t width = logits.dim(1), first = rows.front();
      status.Update(CompareRows(absl::MakeConstSpan(exact).subspan(first * width, other.size()), other, first, width,
                                begin, end));
    });
    return status;
  }

  // Rows [first, ..) of a segment of positions [begin, end).
  absl::Status CompareRows(absl::Span<const double> exact, absl::Span<const double> other, int64_t first, int64_t width,
                           int64_t begin, int64_t end) {
    const auto rows = static_cast<int64_t>(other.size()) / width;
    const auto position = [&](int64_t row) { return begin + (first + row) % (end - begin) + model_.target_offset(); };
    std::vector<Comparison> comparisons(rows);
    cpu::ParallelFor(rows, cpu::RowGrain(width), [&](int64_t from, int64_t to) {
      for (int64_t row = from; row < to; ++row) {
        if (position(row) >= length_) continue;
        const int32_t token = sequences_[(first + row) / (end - begin)][position(row)];
        comparisons[row] = Compare(exact.subspan(row * width, width), other.subspan(row * width, width), token);
      }
    });
    for (int64_t row = 0; row < rows; ++row) {
      if (position(row) >= length_) continue;
      if (std::isnan(comparisons[row].divergence)) {
        return absl::DataLossError(absl::StrCat("the model's logits for token ", position(row),
                                                " (counted from 0) are no finite numbers: its weights are damaged, or "
                                                "its training diverged; take an earlier checkpoint"));
      }
      tally_.Add(position(row) - options_.prefix + 1, comparisons[row]);
    }
    return absl::OkStatus();
  }

  const Context& context_;
  const LanguageModel& model_;
  const absl::Span<const std::vector<int32_t>> sequences_;
  const DriftOptions& options_;
  const int64_t count_, length_, meta_;
  const std::unique_ptr<SegmentScorer> exact_, other_;
  DriftTally& tally_;
};

void AddTo(const Comparison& comparison, Stretch* sum) {
  ++sum->tokens;
  sum->exact_log_likelihood += comparison.exact_log_likelihood;
  sum->other_log_likelihood += comparison.other_log_likelihood;
  sum->agreement += comparison.agree ? 1 : 0;
  sum->divergence += comparison.divergence;
}

}  // namespace

Comparison Compare(absl::Span<const double> exact, absl::Span<const double> other, int32_t token) {
  const Normaliser p = Normalise(exact), q = Normalise(other);
  double divergence = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double log_p = exact[i] - p.log_sum;
    if (log_p == -std::numeric_limits<double>::infinity()) continue;
    divergence += std::exp(log_p) * (log_p - (other[i] - q.log_sum));
  }
  return {.exact_log_likelihood = exact[token] - p.log_sum,
          .other_log_likelihood = other[token] - q.log_sum,
          .agree = p.most_likely == q.most_likely,
          .divergence = divergence};
}

DriftTally::DriftTally(absl::Span<const int64_t> lengths) {
  for (int64_t from = 1, to = 16; from <= lengths.back(); from = to + 1, to *= 4) {
    sums_.buckets.push_back({.from = from, .to = std::min(to, lengths.back())});
  }
  for (const int64_t length : lengths) sums_.lengths.push_back({.from = 1, .to = length});
}

void DriftTally::Add(int64_t distance, const Comparison& comparison) {
  for (std::vector<Stretch>* stretches : {&sums_.buckets, &sums_.lengths}) {
    for (Stretch& stretch : *stretches) {
      if (stretch.from <= distance && distance <= stretch.to) AddTo(comparison, &stretch);
    }
  }
}

Drift DriftTally::Means() const {
  Drift means = sums_;
  for (std::vector<Stretch>* stretches : {&means.buckets, &means.lengths}) {
    for (Stretch& stretch : *stretches) {
      const auto tokens = static_cast<double>(std::max<int64_t>(stretch.tokens, 1));
      stretch.exact_log_likelihood /= tokens;
      stretch.other_log_likelihood /= tokens;
      stretch.agreement /= tokens;
      stretch.divergence /= tokens;
    }
  }
  return means;
}

absl::StatusOr<Drift> MeasureDrift(const Context& context, const LanguageModel& model,
                                   absl::Span<const std::vector<int32_t>> sequences, const DriftOptions& options,
                                   const std::function<void(int64_t tokens)>& progress) {
  PHOTON_RETURN_IF_ERROR(
      ValidateScoring({.mode = GenerationMode::kRec, .exact_prefix = options.prefix}, model.config()));
  for (const std::vector<int32_t>& sequence : sequences) {
    PHOTON_RETURN_IF_ERROR(CheckTokenIds(sequence, model.config().vocab_size(), "the text"));
  }
  DriftTally tally(options.lengths);
  const int64_t most = Readings::MostSequences(model.config());
  int64_t done = 0;
  while (done < static_cast<int64_t>(sequences.size())) {
    const absl::Span<const std::vector<int32_t>> group = sequences.subspan(done, most);
    const auto count = static_cast<int64_t>(group.size()), length = static_cast<int64_t>(group[0].size());
    PHOTON_RETURN_IF_ERROR(Readings(context, model, group, options, &tally).Run([&](int64_t tokens) {
      if (progress) progress(done * length + count * tokens);
    }));
    done += count;
  }
  return tally.Means();
}

}  // namespace photon::eval
