// By hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "inference/eval/metrics.h"

namespace photon::eval {
namespace {

using ::testing::IsEmpty;

constexpr double kExact = 1e-14;  // a handful of operations in f64

Metric Find(const std::vector<Metric>& metrics, const std::string& name) {
  for (const Metric& metric : metrics) {
    if (metric.name == name) return metric;
  }
  ADD_FAILURE() << "no metric " << name;
  return {};
}

TEST(EvalMetrics, PerplexitiesAreOfSums) {
  AnsweredDocument first, second;
  first.document.words = 3;
  first.document.bytes = 12;
  first.answers = {{.log_likelihood = -4, .tokens = 4}, {.log_likelihood = -2, .tokens = 1}};
  second.document.words = 1;
  second.document.bytes = 4;  // an empty window list: nothing but its words counts
  const std::vector<Metric> metrics = Metrics(TaskKind::kPerplexity, {first, second});
  EXPECT_NEAR(Find(metrics, "word_perplexity").value, std::exp(6.0 / 4), kExact * 5);
  EXPECT_NEAR(Find(metrics, "byte_perplexity").value, std::exp(6.0 / 16), kExact);
  EXPECT_NEAR(Find(metrics, "bits_per_byte").value, 6.0 / 16 / std::log(2.0), kExact);
  EXPECT_NEAR(Find(metrics, "token_perplexity").value, std::exp(6.0 / 5), kExact * 5);
}

TEST(EvalMetrics, LastWord) {
  std::vector<AnsweredDocument> documents(4);
  documents[0].answers = {{.log_likelihood = -1, .greedy = true, .tokens = 1}};
  documents[1].answers = {{.log_likelihood = -2, .greedy = false, .tokens = 3}};
  documents[2].answers = {{.log_likelihood = -3, .greedy = false, .tokens = 1}};
  documents[3].answers = {{.log_likelihood = -2, .greedy = false, .tokens = 2}};
  const std::vector<Metric> metrics = Metrics(TaskKind::kLastWord, documents);
  EXPECT_NEAR(Find(metrics, "acc").value, 0.25, kExact);
  // Squares: 0.75^2 + 3 * 0.25^2 = 0.75; over 3: 0.25; its root 0.5, over the root of 4.
  EXPECT_NEAR(*Find(metrics, "acc").standard_error, 0.25, kExact);
  EXPECT_NEAR(Find(metrics, "perplexity").value, std::exp(2.0), kExact * 8);
  EXPECT_FALSE(Find(metrics, "perplexity").standard_error.has_value());
}

AnsweredDocument Choices(int64_t answer, const std::vector<double>& log_likelihoods) {
  AnsweredDocument document;
  document.document.answer = answer;
  document.document.choice_characters = {10, 4, 2};
  document.document.choice_bytes = {10, 4, 8};
  for (const double value : log_likelihoods) document.answers.push_back({.log_likelihood = value});
  return document;
}

TEST(EvalMetrics, ChoicesBySumCharactersAndBytes) {
  // -5, -3, -1.4; a character: -0.5, -0.75, -0.7; a byte: -0.5, -0.75, -0.175.
  const AnsweredDocument document = Choices(0, {-5, -3, -1.4});
  const Judgement judgement = JudgeChoices(document);
  EXPECT_EQ(judgement.by_sum, 2);
  EXPECT_EQ(judgement.by_character, 0);
  EXPECT_EQ(judgement.by_byte, 2);
  EXPECT_EQ(JudgeChoices(Choices(0, {-3, -2, -2})).by_sum, 1) << "of equals the first";

  const std::vector<Metric> metrics = Metrics(TaskKind::kChoice, {document, Choices(2, {-5, -3, -1.4})});
  EXPECT_EQ(Find(metrics, "acc").value, 0.5);
  EXPECT_EQ(Find(metrics, "acc_norm").value, 0.5);
  EXPECT_EQ(Find(metrics, "acc_bytes").value, 0.5);
  EXPECT_NEAR(*Find(metrics, "acc").standard_error, 0.5, kExact);  // sqrt(0.5) / sqrt(2)
}

TEST(EvalMetrics, ErrorsNeedTwoValues) {
  EXPECT_FALSE(Mean("", {1}).standard_error.has_value());
  EXPECT_EQ(Mean("", {2, 2}).standard_error, 0);
  EXPECT_THAT(Metrics(TaskKind::kChoice, {}), IsEmpty());
}

}  // namespace
}  // namespace photon::eval
