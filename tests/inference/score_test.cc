#include "inference/score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "inference/decoder.h"
#include "tests/support/models.h"
#include "tests/support/reference_model.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

struct Precision {
  DType dtype;
  double bound;
};

// Against token-by-token decoding, which goes through caches: nothing padded, nothing sliced. In f64, what is left is
// the definition; in f32, products of one row and of many are rounded in different orders, and a model that feeds its
// outputs back at every level amplifies that without end: there, f32 is compared over a few units only.
TEST(Score, IsTheLogProbabilityOfEveryTokenButTheFirst) {
  TestContext context;
  for (const TinyModel& tiny :
       {TinyModel{.chunks = {}}, TinyModel{.chunks = {4}}, TinyModel{.chunks = {2, 3}},
        TinyModel{.chunks = {2, 2}, .shift = ModelConfig::ALL, .contents = ModelConfig::RECONSTRUCTED}}) {
    SCOPED_TRACE(Describe(tiny));
    for (const Precision p : {Precision{DType::kF64, 1e-9}, Precision{DType::kF32, 1e-4}}) {
      const auto model = MakeModel(context, tiny, p.dtype, p.dtype);
      const auto decoder = Decoder::Create(context, *model);
      for (int64_t length : {2, 3, 6, 7, 300}) {  // 300: more than one slice, no multiple of any unit
        const bool feeds_back = tiny.contents == ModelConfig::RECONSTRUCTED;
        if (feeds_back && p.dtype == DType::kF32 && length == 300) length = 30;
        const std::vector<int32_t> tokens = RandomTokens(length, tiny.vocab, length);
        const auto scores = ScoreTokens(context, *model, tokens);
        ASSERT_TRUE(scores.ok()) << scores.status();
        DecodingState state = decoder->NewState(length);
        decoder->Prefill(state, absl::MakeConstSpan(tokens).first(1));
        std::vector<double> want;
        for (int64_t t = 1; t < length; ++t) {
          want.push_back(LogSoftmax(ToDoubles(context, decoder->NextLogits({&state})))[tokens[t]]);
          decoder->Accept({&state}, {tokens[t]});
        }
        ExpectNear(*scores, want, p.bound, "length " + std::to_string(length));
      }
    }
  }
}

TEST(Score, BorderCases) {
  TestContext context;
  for (const TinyModel& tiny : {TinyModel{.chunks = {}}, TinyModel{.chunks = {2, 3}}}) {
    const auto model = MakeModel(context, tiny);
    const auto one = ScoreTokens(context, *model, {7});
    ASSERT_TRUE(one.ok());
    EXPECT_TRUE(one->empty());
    const auto none = ScoreTokens(context, *model, {});
    EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument);
    const auto outside = ScoreTokens(context, *model, {7, 19});
    EXPECT_EQ(outside.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(outside.status().message()), HasSubstr("token 1 is 19"));
    EXPECT_FALSE(ScoreTokens(context, *model, {19}).ok());
  }
}

}  // namespace
}  // namespace photon::testing
