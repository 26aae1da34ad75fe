// Numbers from a model's answers, as lm-evaluation-harness makes them (lm_eval/api/metrics.py and
// ConfigurableTask.process_results). Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "inference/eval/task.h"

namespace photon::eval {

// Of one request.
struct Answer {
  double log_likelihood = 0;  // of the continuation, natural logarithm
  bool greedy = true;         // whether greedy decoding would have written it
  int64_t tokens = 0;         // of the continuation
};

struct AnsweredDocument {
  Document document;
  std::vector<Answer> answers;  // of its requests, in order
};

// Indices of the choices that are the most likely: by log-likelihood, by that a character, and by that a byte. Of
// equals the first, as np.argmax.
struct Judgement {
  int64_t by_sum, by_character, by_byte;
};
Judgement JudgeChoices(const AnsweredDocument& document);

struct Metric {
  std::string name;
  double value;
  // Standard error: the sample's standard deviation over the square root of its size; for means of two or more values.
  std::optional<double> standard_error = std::nullopt;
};

// kPerplexity: word_perplexity, byte_perplexity, bits_per_byte and token_perplexity: sums over all documents, so that
//   long ones count for more. token_perplexity, which the harness hasn't, compares only models of one tokenizer.
// kLastWord: acc (greedy decoding gives the word), perplexity (exp of the mean over words, not tokens).
// kChoice: acc, acc_norm (log-likelihoods divided by the choice's characters) and acc_bytes (by its bytes in UTF-8).
// None without documents.
std::vector<Metric> Metrics(TaskKind kind, absl::Span<const AnsweredDocument> documents);

// Mean and its standard error.
Metric Mean(std::string name, absl::Span<const double> values);

}  // namespace photon::eval
