// Exact decoding: the logits of every next token are those of the training forward.
#include <gtest/gtest.h>

#include "configs/model_config.h"
#include "inference/decoder.h"
#include "tests/support/models.h"
#include "tests/support/reference_model.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

std::vector<TinyModel> ShapesAndFlags() {
  const std::vector<TinyModel> shapes = {{.chunks = {4}, .prefixes = {1}},
                                         {.chunks = {4, 4}},
                                         {.chunks = {2, 3}, .prefixes = {1, 3}, .width = 16, .heads = 2, .kv_heads = 1},
                                         {.chunks = {3, 2, 2}, .kv_heads = 2, .layers = 2},
                                         {.chunks = {1, 4}},
                                         {.chunks = {3, 1}},
                                         {.chunks = {2, 1, 1}}};
  std::vector<TinyModel> all = {{.chunks = {}, .kv_heads = 2, .layers = 2}};
  for (const TinyModel& shape : shapes) {
    const std::vector<TinyModel> flagged = AllFlags(shape);
    all.insert(all.end(), flagged.begin(), flagged.end());
  }
  return all;
}

// log-softmax rows of the training forward over `tokens`: row t is the distribution of token t.
Rows ForwardRows(const Context& context, const LanguageModel& model, const std::vector<int32_t>& tokens) {
  const int64_t align = ChunkProduct(model.config(), model.levels());
  Rows rows = Logits(context, model, TokenBatch::FromIds(tokens, align, true));
  for (std::vector<double>& row : rows) row = LogSoftmax(row);
  if (model.target_offset() == 1) rows.insert(rows.begin(), std::vector<double>());
  return rows;
}

Rows NextRows(const Context& context, const Decoder& decoder, States states) {
  const Tensor logits = decoder.NextLogits(states);
  const std::vector<double> values = ToDoubles(context, logits);
  Rows rows;
  for (int64_t i = 0; i < logits.dim(0); ++i) {
    rows.push_back(LogSoftmax({values.begin() + i * logits.dim(1), values.begin() + (i + 1) * logits.dim(1)}));
  }
  return rows;
}

class Hier : public ::testing::TestWithParam<TinyModel> {
 protected:
  int64_t meta_context() const {
    int64_t tokens = 1;
    for (int c : GetParam().chunks) tokens *= c;
    return GetParam().chunks.empty() ? 5 : tokens;
  }
  // The logits of every next token, from the prompt's end to past the next boundary, for every prompt of up to three
  // meta-contexts.
  void ExpectTheForward(const LanguageModel& model, double bound) {
    const auto decoder = Decoder::Create(context_, model);
    const std::vector<int32_t> tokens = RandomTokens(5 * meta_context(), GetParam().vocab, 21);
    const Rows want = ForwardRows(context_, model, tokens);
    const int64_t shortest = GetParam().chunks.empty() ? 1 : 0;
    for (int64_t length = shortest; length <= 3 * meta_context(); ++length) {
      DecodingState state = decoder->NewState(/*expected_tokens=*/1);  // caches must grow
      decoder->Prefill(state, absl::MakeConstSpan(tokens).first(length));
      for (int64_t t = length; t < length + meta_context() + 2; ++t) {
        const Rows got = NextRows(context_, *decoder, {&state});
        ExpectNear(got[0], want[t], bound, "prompt of " + std::to_string(length) + ", token " + std::to_string(t));
        if (HasFailure()) return;
        decoder->Accept({&state}, {tokens[t]});
      }
    }
  }
  TestContext context_;
};
INSTANTIATE_TEST_SUITE_P(AllModels, Hier, ::testing::ValuesIn(ShapesAndFlags()),
                         [](const auto& info) { return "n" + std::to_string(info.index); });

// In double precision a difference of method shows and rounding doesn't: unit roundoff 2^-53, and these deliberately
// loud models (matrices with a gain above 1, up to some 40 in a row) magnify it by less than 1e5.
constexpr double kBound = 1e-10;
std::unique_ptr<LanguageModel> DoubleModel(const Context& context, const TinyModel& tiny) {
  return MakeModel(context, tiny, DType::kF64, DType::kF64);
}

TEST_P(Hier, EqualsTheForwardForEveryPromptLength) {
  SCOPED_TRACE(Describe(GetParam()));
  ExpectTheForward(*DoubleModel(context_, GetParam()), kBound);
}

// Sequences of different lengths, hence at different slots of different levels, in one call.
TEST_P(Hier, SequencesOfOneBatchDoNotMix) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto model = DoubleModel(context_, GetParam());
  const auto decoder = Decoder::Create(context_, *model);
  const int64_t steps = 2 * meta_context();
  std::vector<DecodingState> states;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<Rows> want;
  const std::vector<int64_t> lengths = {1, meta_context(), 2, meta_context() + 1, 2 * meta_context() - 1};
  for (size_t s = 0; s < lengths.size(); ++s) {
    tokens.push_back(RandomTokens(lengths[s] + steps, GetParam().vocab, 30 + s));
    want.push_back(ForwardRows(context_, *model, tokens[s]));
    states.push_back(decoder->NewState(lengths[s] + steps));
    decoder->Prefill(states[s], absl::MakeConstSpan(tokens[s]).first(lengths[s]));
  }
  std::vector<DecodingState*> batch;
  for (DecodingState& state : states) batch.push_back(&state);
  for (int64_t step = 0; step < steps; ++step) {
    const Rows got = NextRows(context_, *decoder, batch);
    std::vector<int32_t> next;
    for (size_t s = 0; s < states.size(); ++s) {
      const int64_t t = lengths[s] + step;
      ExpectNear(got[s], want[s][t], kBound, "sequence " + std::to_string(s) + ", token " + std::to_string(t));
      next.push_back(tokens[s][t]);
    }
    if (HasFailure()) return;
    decoder->Accept(batch, next);
  }
}

// What grows with the context: sum_l n_l floor(T / C_<=l) positions; in groups at most C_(l+1) below the top. The flat
// model's last token is read only when the next is asked for.
TEST_P(Hier, StateBytesAreTheFormulas) {
  SCOPED_TRACE(Describe(GetParam()));
  const TinyModel& tiny = GetParam();
  const auto model = MakeModel(context_, tiny);
  const auto decoder = Decoder::Create(context_, *model);
  const int64_t position = 2 * (tiny.width / tiny.heads) * tiny.kv_heads * 4 * tiny.layers;  // K and V in a stack, f32
  const int levels = static_cast<int>(tiny.chunks.size());
  const std::vector<int32_t> tokens = RandomTokens(4 * meta_context(), tiny.vocab, 4);
  DecodingState state = decoder->NewState(tokens.size());
  decoder->Prefill(state, absl::MakeConstSpan(tokens).first(1));
  for (int64_t t = 1; t < static_cast<int64_t>(tokens.size()); ++t) {
    int64_t want = levels == 0 ? position * (t - 1) : 0;
    for (int l = 1; l <= levels; ++l) {
      const int64_t units = t / ChunkProduct(model->config(), l);
      if (l == levels || tiny.scope == ModelConfig::GLOBAL) {
        want += position * units;
      } else if (units > 0) {
        want += position * ((units - 1) % tiny.chunks[l] + 1);  // a group stays until the next begins
      }
    }
    EXPECT_EQ(state.bytes().context, want) << "after " << t << " tokens";
    decoder->NextLogits({&state});
    int64_t longest = 0;
    for (int l = 1; l <= levels; ++l) {
      longest += position * (tiny.chunks[l - 1] + (tiny.prefixes.empty() ? 2 : tiny.prefixes[l - 1]) - 1);
    }
    EXPECT_LE(state.bytes().windows, longest);
    EXPECT_EQ(state.bytes().windows > 0, levels > 0);
    decoder->Accept({&state}, {tokens[t]});
  }
}

// The bound that users are promised in fp32, on models of ordinary gain: matrices of stddev 0.1 at width 24, 0.5.
TEST_P(Hier, InSinglePrecisionForEveryPromptLengthWithinTheBound) {
  SCOPED_TRACE(Describe(GetParam()));
  TinyModel tiny = GetParam();
  tiny.loudness = TinyModel::kOrdinary;
  ExpectTheForward(*MakeModel(context_, tiny), 1e-4);
}

}  // namespace
}  // namespace photon::testing
