#include "inference/score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "configs/model_config.h"
#include "inference/decoder.h"
#include "inference/generate.h"
#include "inference/segment_scorer.h"
#include "model/model_input.h"
#include "tests/support/models.h"
#include "tests/support/reference_model.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

TEST(Score, NoNumberIsAnErrorThatNamesTheToken) {
  TestContext context;
  for (const TinyModel& tiny : {TinyModel{.chunks = {}}, TinyModel{.chunks = {2, 2}}}) {
    SCOPED_TRACE(Describe(tiny));
    const auto model = MakeModel(context, tiny);
    ASSERT_TRUE(ScoreTokens(context, *model, {1, 2, 3, 4, 5, 6}).ok());
    MakeNan(context, *model);
    const absl::Status status = ScoreTokens(context, *model, {1, 2, 3, 4, 5, 6}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("token 1 of sequence 0"));
  }
}

struct Precision {
  DType dtype;
  double loudness;
  double bound;
};

// Against token-by-token decoding, which goes through caches: nothing padded, nothing sliced. In f64 a difference of
// method shows; in f32, the bound that users are promised, on models of ordinary gain (see hier_test.cc).
TEST(Score, IsTheLogProbabilityOfEveryTokenButTheFirst) {
  TestContext context;
  for (TinyModel tiny :
       {TinyModel{.chunks = {}}, TinyModel{.chunks = {4}}, TinyModel{.chunks = {2, 3}},
        TinyModel{.chunks = {2, 2}, .shift = ModelConfig::ALL, .contents = ModelConfig::RECONSTRUCTED}}) {
    SCOPED_TRACE(Describe(tiny));
    for (const Precision p :
         {Precision{DType::kF64, TinyModel::kLoud, 1e-9}, Precision{DType::kF32, TinyModel::kOrdinary, 1e-4}}) {
      tiny.loudness = p.loudness;
      const auto model = MakeModel(context, tiny, p.dtype, p.dtype);
      const auto decoder = Decoder::Create(context, *model);
      for (int64_t length : {2, 3, 6, 7, 300}) {  // 300: more than one slice, no multiple of any unit
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

std::vector<TinyModel> AllModels() {
  std::vector<TinyModel> all = {{.chunks = {}, .kv_heads = 2, .layers = 2}};
  for (const TinyModel& shape :
       {TinyModel{.chunks = {4}}, TinyModel{.chunks = {2, 3}, .prefixes = {1, 3}, .kv_heads = 2},
        TinyModel{.chunks = {3, 2, 2}, .layers = 2}, TinyModel{.chunks = {1, 4}}, TinyModel{.chunks = {2, 1}}}) {
    const std::vector<TinyModel> flagged = AllFlags(shape);
    all.insert(all.end(), flagged.begin(), flagged.end());
  }
  return all;
}

class Segments : public ::testing::TestWithParam<TinyModel> {
 protected:
  // log p of tokens 2..T by one training forward over everything.
  std::vector<double> Forward(const LanguageModel& model, const std::vector<int32_t>& tokens) {
    const auto rows = Logits(context_, model, TokenBatch::FromIds(tokens, ChunkProduct(model.config()), true));
    std::vector<double> want;
    for (size_t t = 1; t < tokens.size(); ++t) {
      want.push_back(LogSoftmax(rows[t - model.target_offset()])[tokens[t]]);
    }
    return want;
  }
  void ExpectTheForward(const LanguageModel& model, double bound) {
    const int64_t meta = ChunkProduct(model.config());
    for (const int64_t length : std::vector<int64_t>{2, meta + 1, 5 * meta - 1, 6 * meta}) {
      const std::vector<int32_t> tokens = RandomTokens(length, GetParam().vocab, length);
      const std::vector<double> want = Forward(model, tokens);
      for (const int64_t segment : std::vector<int64_t>{1, 2 * meta, 4 * meta, 100 * meta}) {
        const auto got = ScoreTokens(context_, model, tokens, {.segment_tokens = segment});
        ASSERT_TRUE(got.ok()) << got.status();
        ExpectNear(*got, want, bound, "length " + std::to_string(length) + ", segments of " + std::to_string(segment));
      }
    }
  }
  TestContext context_;
};
INSTANTIATE_TEST_SUITE_P(AllModels, Segments, ::testing::ValuesIn(AllModels()),
                         [](const auto& info) { return "n" + std::to_string(info.index); });

std::vector<TinyModel> ModelsWithRec() {
  std::vector<TinyModel> models = AllModels();
  std::erase_if(models, [](const TinyModel& tiny) { return tiny.shift == ModelConfig::ALL; });
  return models;
}

class RecSegments : public Segments {};
INSTANTIATE_TEST_SUITE_P(ModelsWithRec, RecSegments, ::testing::ValuesIn(ModelsWithRec()),
                         [](const auto& info) { return "n" + std::to_string(info.index); });

// Double precision: a difference of method shows, rounding (2^-53, magnified by these loud models less than 1e5 times)
// doesn't.
TEST_P(Segments, EqualTheTrainingForward) {
  SCOPED_TRACE(Describe(GetParam()));
  ExpectTheForward(*MakeModel(context_, GetParam(), DType::kF64, DType::kF64), 1e-10);
}

// The bound that users are promised in fp32, on models of ordinary gain (see hier_test.cc).
TEST_P(Segments, EqualTheTrainingForwardInSinglePrecision) {
  SCOPED_TRACE(Describe(GetParam()));
  TinyModel tiny = GetParam();
  tiny.loudness = TinyModel::kOrdinary;
  ExpectTheForward(*MakeModel(context_, tiny), 1e-4);
}

// Decoders above the tokens that are fed their own outputs are those of a model whose contents are RECONSTRUCTED.
TEST_P(RecSegments, OfHierParallelAreTheForwardOfReconstructedContents) {
  SCOPED_TRACE(Describe(GetParam()));
  TinyModel reconstructed = GetParam();
  reconstructed.contents = ModelConfig::RECONSTRUCTED;
  const auto model = MakeModel(context_, GetParam(), DType::kF64, DType::kF64);
  const auto own = MakeModel(context_, reconstructed, DType::kF64, DType::kF64);
  const int64_t meta = ChunkProduct(model->config());
  const std::vector<int32_t> tokens = RandomTokens(6 * meta - 1, GetParam().vocab, 5);
  const std::vector<double> want = Forward(*own, tokens);
  for (const int64_t segment : std::vector<int64_t>{1, 2 * meta, 100 * meta}) {
    const auto got =
        ScoreTokens(context_, *model, tokens, {.mode = GenerationMode::kHierParallel, .segment_tokens = segment});
    ASSERT_TRUE(got.ok()) << got.status();
    ExpectNear(*got, want, 1e-10, "segments of " + std::to_string(segment));
  }
}

TEST_P(Segments, OfABatchAreThoseOfEachAlone) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto model = MakeModel(context_, GetParam(), DType::kF64, DType::kF64);
  const int64_t meta = ChunkProduct(model->config());
  std::vector<std::vector<int32_t>> sequences;
  for (const int64_t length : std::vector<int64_t>{1, 3 * meta, 2, 4 * meta + 1}) {
    sequences.push_back(RandomTokens(length, GetParam().vocab, 7 + length));
  }
  const bool has_rec = GetParam().shift == ModelConfig::TOP;
  for (const GenerationMode mode : {GenerationMode::kHier, GenerationMode::kRec}) {
    if (mode == GenerationMode::kRec && !has_rec) continue;
    const ScoreOptions options = {
        .mode = mode, .exact_prefix = mode == GenerationMode::kRec ? 2 * meta : 0, .segment_tokens = 8 * meta};
    const auto got = ScoreBatch(context_, *model, sequences, options);
    ASSERT_TRUE(got.ok()) << got.status();
    ASSERT_EQ(got->size(), sequences.size());
    for (size_t i = 0; i < sequences.size(); ++i) {
      const auto alone = ScoreTokens(context_, *model, sequences[i], options);
      ASSERT_TRUE(alone.ok());
      EXPECT_EQ(alone->size(), sequences[i].size() - 1);
      ExpectNear((*got)[i].log_probabilities, *alone, 1e-10, "sequence " + std::to_string(i));
    }
  }
}

// Leaving the scores of a context out changes none of the others.
TEST_P(Segments, ScoreTheEndsOfSequences) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto model = MakeModel(context_, GetParam(), DType::kF64, DType::kF64);
  const int64_t meta = ChunkProduct(model->config());
  const std::vector<int32_t> first = RandomTokens(5 * meta, GetParam().vocab, 1);
  const std::vector<int32_t> second = RandomTokens(3 * meta + 1, GetParam().vocab, 2);
  const std::vector<ScoreRequest> requests = {{first, 4 * meta + 1}, {second, 3}, {second, 3 * meta + 1}};
  const ScoreOptions options = {.segment_tokens = 3 * 2 * meta};
  const auto all = ScoreBatch(context_, *model, {first, second, second}, options);
  const auto ends = ScoreBatch(context_, *model, requests, options);
  ASSERT_TRUE(all.ok() && ends.ok()) << ends.status();
  for (size_t i = 0; i < requests.size(); ++i) {
    const std::vector<double>& want = (*all)[i].log_probabilities;
    const int64_t left_out = std::min<int64_t>(requests[i].from - 1, want.size());
    ExpectNear((*ends)[i].log_probabilities, {want.begin() + left_out, want.end()}, 1e-10, std::to_string(i));
    EXPECT_TRUE(std::equal((*ends)[i].most_likely.begin(), (*ends)[i].most_likely.end(),
                           (*all)[i].most_likely.begin() + left_out, (*all)[i].most_likely.end()));
  }
}

// Of a batch's tokens those are the most likely whose logits are: the reference is the model's own forward pass.
TEST_P(Segments, TellWhatIsMostLikely) {
  SCOPED_TRACE(Describe(GetParam()));
  for (const DType compute : {DType::kF64, DType::kF32}) {
    const auto model = MakeModel(context_, GetParam(), compute, compute);
    const std::vector<int32_t> tokens = RandomTokens(3 * ChunkProduct(model->config()), GetParam().vocab, 5);
    const auto logits = Logits(context_, *model, TokenBatch::FromIds(tokens, ChunkProduct(model->config()), true));
    // The token itself, then the most likely one, in its place.
    std::vector<int32_t> next = tokens;
    const int64_t last = static_cast<int64_t>(tokens.size()) - 1;
    const auto& row = logits[last - model->target_offset()];
    next[last] = static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    const auto scores = ScoreBatch(context_, *model, {tokens, next}, {.segment_tokens = 8});
    ASSERT_TRUE(scores.ok()) << scores.status();
    EXPECT_EQ((*scores)[0].most_likely[last - 1], tokens[last] == next[last]);
    EXPECT_TRUE((*scores)[1].most_likely[last - 1]);
    for (int64_t i = 1; i <= last; ++i) {
      const auto& at = logits[i - model->target_offset()];
      const auto best = std::max_element(at.begin(), at.end()) - at.begin();
      EXPECT_EQ((*scores)[0].most_likely[i - 1], best == tokens[i]) << i;
    }
  }
}

// rec: what it generates greedily behind an exact prefix is, by its own likelihood, what it finds most likely, with the
// log-probabilities that generation gave.
TEST_P(RecSegments, ScoreWhatRecGenerates) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto model = MakeModel(context_, GetParam(), DType::kF64, DType::kF64);
  const int64_t meta = ChunkProduct(model->config());
  for (const int64_t prefix : std::vector<int64_t>{0, meta, 3 * meta}) {
    if (prefix == 0 && model->levels() == 0) continue;
    std::vector<int32_t> tokens = RandomTokens(prefix, GetParam().vocab, 60 + prefix);
    const auto generated =
        Generate(context_, *model, tokens,
                 {.mode = GenerationMode::kRec, .max_new_tokens = 4 * meta + 1, .log_probabilities = 1});
    ASSERT_TRUE(generated.ok()) << generated.status();
    const Continuation& continuation = generated->continuations[0];
    tokens.insert(tokens.end(), continuation.tokens.begin(), continuation.tokens.end());
    for (const int64_t segment : std::vector<int64_t>{meta, 2 * meta, 50 * meta}) {
      const auto scores = ScoreTokens(
          context_, *model, tokens, {.mode = GenerationMode::kRec, .exact_prefix = prefix, .segment_tokens = segment});
      ASSERT_TRUE(scores.ok()) << scores.status();
      std::vector<double> got, want;
      for (size_t i = prefix == 0 ? 1 : 0; i < continuation.tokens.size(); ++i) {
        got.push_back((*scores)[prefix + i - 1]);
        want.push_back(continuation.choices[i].log_probability);
        EXPECT_EQ(continuation.choices[i].most_likely[0].token, continuation.tokens[i]);
      }
      ExpectNear(got, want, 1e-10, "prefix " + std::to_string(prefix) + ", segments of " + std::to_string(segment));
    }
    // Within the prefix it is the training forward.
    if (prefix < 2) continue;
    const auto exact = ScoreTokens(context_, *model, absl::MakeConstSpan(tokens).first(prefix));
    const auto all = ScoreTokens(context_, *model, tokens, {.mode = GenerationMode::kRec, .exact_prefix = prefix});
    ExpectNear({all->begin(), all->begin() + prefix - 1}, *exact, 1e-10, "within the prefix");
  }
}

// Another token anywhere behind the prefix changes the scores of its own chunk alone: rec never reads it again.
TEST(Score, RecForgetsForcedTokens) {
  TestContext context;
  const auto model = MakeModel(context, {.chunks = {2, 3}});
  std::vector<int32_t> tokens = RandomTokens(30, 19, 1);
  const ScoreOptions options = {.mode = GenerationMode::kRec, .exact_prefix = 6};
  const auto before = ScoreTokens(context, *model, tokens, options);
  tokens[8] = (tokens[8] + 1) % 19;  // the first of its chunk of two
  const auto after = ScoreTokens(context, *model, tokens, options);
  ASSERT_TRUE(before.ok() && after.ok());
  for (size_t i = 0; i < before->size(); ++i) {
    EXPECT_EQ((*before)[i] != (*after)[i], i + 1 == 8 || i + 1 == 9) << "token " << i + 1;
  }
  const auto hier = ScoreTokens(context, *model, tokens);
  EXPECT_NE((*hier)[20], (*after)[20]);
}

TEST(Score, RefusesPrefixesAndModes) {
  TestContext context;
  const auto top = MakeModel(context, {.chunks = {2, 3}});
  const auto all = MakeModel(context, {.chunks = {2, 3}, .shift = ModelConfig::ALL});
  const auto refusal = [&](const LanguageModel& model, const ScoreOptions& options) {
    const auto result = ScoreTokens(context, model, {1, 2, 3}, options);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(result.status().message());
  };
  EXPECT_THAT(refusal(*top, {.mode = GenerationMode::kRec, .exact_prefix = 8}),
              HasSubstr("exact-prefix is 8: it must be a multiple of 6, the model's meta-context; give 6 or 12"));
  EXPECT_THAT(refusal(*top, {.mode = GenerationMode::kRec, .exact_prefix = -6}), HasSubstr("give 0"));
  EXPECT_THAT(refusal(*top, {.exact_prefix = 6}), HasSubstr("belongs to mode rec"));
  EXPECT_THAT(refusal(*top, {.mode = GenerationMode::kHierParallel, .exact_prefix = 6}),
              HasSubstr("belongs to mode rec"));
  EXPECT_THAT(refusal(*all, {.mode = GenerationMode::kHierParallel}), HasSubstr("shift: TOP"));
  EXPECT_THAT(refusal(*all, {.mode = GenerationMode::kRec}), HasSubstr("shift: TOP"));
  // A prefix longer than the text: all of it is read exactly.
  EXPECT_EQ(*ScoreTokens(context, *top, {1, 2, 3}, {.mode = GenerationMode::kRec, .exact_prefix = 12}),
            *ScoreTokens(context, *top, {1, 2, 3}));
}

// What four times the tokens add to the most memory ever held.
size_t PeakOf(const TinyModel& tiny, const std::function<void(const Context&, const LanguageModel&)>& run) {
  TestContext context;
  const auto model = MakeModel(context, tiny);
  context.arena().ResetPeak();
  run(context, *model);
  return context.arena().peak();
}

// Caches grow with the length, activations don't. Beside the caches there are the rotary table (head_dim floats a
// position, twice while it grows) and attention's copy of one head of one layer: with 4 heads less than the cache of
// one layer each. So the growth is below thrice the caches'. The training forward over all the tokens keeps some 2 (5 D
// + 3 F) floats a token at once, more than ten times that.
TEST(Score, MemoryGrowsByTheCachesAlone) {
  for (const TinyModel& tiny :
       {TinyModel{.chunks = {4, 4}, .width = 64, .layers = 2}, TinyModel{.chunks = {}, .width = 64, .layers = 2}}) {
    SCOPED_TRACE(Describe(tiny));
    const auto cache_bytes = [&](int64_t tokens) {
      int64_t positions = tiny.chunks.empty() ? tokens : tokens / 4 + tokens / 16;
      return positions * 2 * tiny.layers * tiny.width * 4;
    };
    constexpr int64_t kShort = 2048, kLong = 8192;
    const double caches = static_cast<double>(cache_bytes(kLong) - cache_bytes(kShort));
    const auto growth = [&](const auto& run) {
      const auto peak = [&](int64_t tokens) {
        const std::vector<int32_t> ids = RandomTokens(tokens, tiny.vocab, 3);
        return static_cast<double>(PeakOf(tiny, [&](const Context& c, const LanguageModel& m) { run(c, m, ids); }));
      };
      return peak(kLong) - peak(kShort);
    };
    const double scoring = growth([&](const Context& c, const LanguageModel& m, const std::vector<int32_t>& ids) {
      ASSERT_TRUE(ScoreTokens(c, m, ids, {.segment_tokens = 512}).ok());
    });
    EXPECT_GE(scoring, caches);
    EXPECT_LE(scoring, 3 * caches);
    const double prefill = growth([&](const Context& c, const LanguageModel& m, const std::vector<int32_t>& ids) {
      const auto decoder = Decoder::Create(c, m);
      DecodingState state = decoder->NewState(static_cast<int64_t>(ids.size()));
      decoder->Prefill(state, ids);
    });
    EXPECT_GE(prefill, caches);
    EXPECT_LE(prefill, 3 * caches);
    const double whole = growth([&](const Context& c, const LanguageModel& m, const std::vector<int32_t>& ids) {
      Tape tape(c, Tape::Mode::kEvaluate);
      m.Forward(tape, ModelInput(c, m, TokenBatch::FromIds(ids, 16, false)), {.slice_tokens = 256},
                [](Tape&, const Var&, const Var&, int64_t, int64_t) {});
    });
    EXPECT_GE(whole, 2 * scoring);
  }
}

}  // namespace
}  // namespace photon::testing
