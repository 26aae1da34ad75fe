#include "inference/eval/metrics.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace photon::eval {
namespace {

std::vector<Metric> PerplexityMetrics(absl::Span<const AnsweredDocument> documents) {
  double sum = 0, words = 0, bytes = 0, tokens = 0;
  for (const AnsweredDocument& document : documents) {
    words += static_cast<double>(document.document.words);
    bytes += static_cast<double>(document.document.bytes);
    for (const Answer& answer : document.answers) {
      sum += answer.log_likelihood;
      tokens += static_cast<double>(answer.tokens);
    }
  }
  return {{"word_perplexity", std::exp(-sum / words)},
          {"byte_perplexity", std::exp(-sum / bytes)},
          {"bits_per_byte", -sum / bytes / std::numbers::ln2},
          {"token_perplexity", std::exp(-sum / tokens)}};
}

std::vector<Metric> LastWordMetrics(absl::Span<const AnsweredDocument> documents) {
  std::vector<double> right, log_likelihoods;
  for (const AnsweredDocument& document : documents) {
    right.push_back(document.answers[0].greedy ? 1 : 0);
    log_likelihoods.push_back(document.answers[0].log_likelihood);
  }
  return {Mean("acc", right), {"perplexity", std::exp(-Mean("", log_likelihoods).value)}};
}

std::vector<Metric> ChoiceMetrics(absl::Span<const AnsweredDocument> documents) {
  std::vector<double> by_sum, by_character, by_byte;
  for (const AnsweredDocument& document : documents) {
    const Judgement judgement = JudgeChoices(document);
    const auto score = [&](int64_t choice) { return choice == document.document.answer ? 1.0 : 0.0; };
    by_sum.push_back(score(judgement.by_sum));
    by_character.push_back(score(judgement.by_character));
    by_byte.push_back(score(judgement.by_byte));
  }
  return {Mean("acc", by_sum), Mean("acc_norm", by_character), Mean("acc_bytes", by_byte)};
}

}  // namespace

Judgement JudgeChoices(const AnsweredDocument& document) {
  const auto best = [&](const std::vector<int64_t>* lengths) {
    std::vector<double> scores;
    for (size_t i = 0; i < document.answers.size(); ++i) {
      const double length = lengths == nullptr ? 1 : static_cast<double>((*lengths)[i]);
      scores.push_back(document.answers[i].log_likelihood / length);
    }
    return std::max_element(scores.begin(), scores.end()) - scores.begin();
  };
  return {best(nullptr), best(&document.document.choice_characters), best(&document.document.choice_bytes)};
}

Metric Mean(std::string name, absl::Span<const double> values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  Metric metric{std::move(name), mean};
  if (values.size() > 1) metric.standard_error = std::sqrt(squares / (n - 1)) / std::sqrt(n);
  return metric;
}

std::vector<Metric> Metrics(TaskKind kind, absl::Span<const AnsweredDocument> documents) {
  if (documents.empty()) return {};
  switch (kind) {
    case TaskKind::kPerplexity:
      return PerplexityMetrics(documents);
    case TaskKind::kLastWord:
      return LastWordMetrics(documents);
    case TaskKind::kChoice:
      return ChoiceMetrics(documents);
  }
  return {};
}

}  // namespace photon::eval
