#include <gtest/gtest.h>

#include "inference/eval/answer_requests.h"
#include "tests/support/models.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

// Requests are asked in batches by length and exact prefix; each gets what it gets alone.
TEST(EvalAnswerRequests, AnswersAreThoseOfRequestsAlone) {
  const TinyModel tiny{.chunks = {2, 3}};
  TestContext context;
  const auto model = MakeModel(context, tiny, DType::kF64, DType::kF64);
  std::vector<eval::TokenRequest> requests;
  for (const auto& [length, scored] :
       std::vector<std::pair<int64_t, int64_t>>{{5, 1}, {17, 4}, {8, 7}, {30, 9}, {17, 3}}) {
    requests.push_back({RandomTokens(length, tiny.vocab, length + scored), scored});
  }
  for (const GenerationMode mode : {GenerationMode::kHier, GenerationMode::kRec}) {
    for (const int64_t exact_prefix : {int64_t{-1}, int64_t{6}}) {
      int64_t done = 0;
      const auto answers = eval::AnswerRequests(context, *model, requests,
                                                {.mode = mode, .exact_prefix = exact_prefix, .batch_tokens = 60},
                                                [&](int64_t count) { done = count; });
      ASSERT_TRUE(answers.ok()) << answers.status();
      EXPECT_EQ(done, static_cast<int64_t>(requests.size()));
      for (size_t i = 0; i < requests.size(); ++i) {
        const auto& [tokens, scored] = requests[i];
        const int64_t before = static_cast<int64_t>(tokens.size()) - scored;
        const int64_t exact = exact_prefix < 0 ? before / 6 * 6 : exact_prefix;
        const auto alone = ScoreBatch(context, *model, {tokens},
                                      {.mode = mode, .exact_prefix = mode == GenerationMode::kRec ? exact : 0});
        double sum = 0;
        bool greedy = true;
        for (int64_t k = before - 1; k < static_cast<int64_t>(tokens.size()) - 1; ++k) {
          sum += (*alone)[0].log_probabilities[k];
          greedy = greedy && (*alone)[0].most_likely[k];
        }
        EXPECT_NEAR((*answers)[i].log_likelihood, sum, 1e-10);
        EXPECT_EQ((*answers)[i].greedy, greedy);
        EXPECT_EQ((*answers)[i].tokens, scored);
      }
    }
  }
}

}  // namespace
}  // namespace photon::testing
