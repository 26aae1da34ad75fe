// The training forward: equal to the specification, causal, complete, blind to other documents.
#include <gtest/gtest.h>

#include "core/random.h"
#include "tests/support/models.h"
#include "tests/support/reference_model.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

std::vector<TinyModel> Shapes() {
  return {{.chunks = {}},
          {.chunks = {4}},
          {.chunks = {4, 4}},
          {.chunks = {2, 3}, .prefixes = {1, 3}, .width = 20, .heads = 2, .kv_heads = 1},
          {.chunks = {3, 2, 2}, .heads = 4, .kv_heads = 3, .layers = 2},
          {.chunks = {1, 4}},
          {.chunks = {2, 1, 3}}};
}

std::vector<TinyModel> ShapesAndFlags() {
  std::vector<TinyModel> all;
  for (const TinyModel& shape : Shapes()) {
    const auto flagged = shape.chunks.empty() ? std::vector<TinyModel>{shape} : AllFlags(shape);
    all.insert(all.end(), flagged.begin(), flagged.end());
  }
  return all;
}

int64_t MetaContext(const TinyModel& tiny) {
  int64_t tokens = 1;
  for (int c : tiny.chunks) tokens *= c;
  return tokens;
}

// Three meta-contexts in two sequences; in the second, documents begin at its first and second meta-context.
TokenBatch TwoSequences(const TinyModel& tiny, uint64_t seed) {
  const int64_t unit = MetaContext(tiny) == 1 ? 5 : MetaContext(tiny);
  TokenBatch batch = TokenBatch::FromIds(RandomTokens(6 * unit, tiny.vocab, seed), 1, true);
  batch.sequences = 2;
  batch.length = 3 * unit;
  for (int64_t i = 4 * unit; i < 6 * unit; ++i) batch.document_begin[i] = static_cast<int32_t>(unit);
  return batch;
}

class Forward : public ::testing::TestWithParam<TinyModel> {
 protected:
  TestContext context_;
};
INSTANTIATE_TEST_SUITE_P(AllModels, Forward, ::testing::ValuesIn(ShapesAndFlags()),
                         [](const auto& info) { return "n" + std::to_string(info.index); });

TEST_P(Forward, EqualsTheSpecification) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto model = MakeModel(context_, GetParam(), DType::kF64, DType::kF64);
  const TokenBatch batch = TwoSequences(GetParam(), 11);
  const Rows got = Logits(context_, *model, batch);
  for (int s = 0; s < 2; ++s) {
    const TokenBatch one = batch.Sequences(s, s + 1);
    const ReferenceOutput want = ReferenceForward(context_, *model, one.tokens, one.document_begin);
    for (int64_t i = 0; i < batch.length; ++i) {
      // f64 through a few thousand operations per element, logits of size some tens.
      ExpectNear(got[s * batch.length + i], want.logits[i], 1e-9, "row " + std::to_string(i));
    }
  }
}

TEST_P(Forward, SlicesChangeNothing) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto model = MakeModel(context_, GetParam(), DType::kF64, DType::kF64);
  const TokenBatch batch = TwoSequences(GetParam(), 12);
  const Rows whole = Logits(context_, *model, batch);
  const Rows sliced = Logits(context_, *model, batch, {.slice_tokens = 7});
  for (size_t i = 0; i < whole.size(); ++i) ExpectNear(sliced[i], whole[i], 1e-10, "row " + std::to_string(i));
}

// logits_i depends on t_1..t_(i-1) and nothing else: bit-identical before, and (default flags) different right after.
TEST_P(Forward, IsCausalAndComplete) {
  const TinyModel tiny = GetParam();
  SCOPED_TRACE(Describe(tiny));
  const auto model = MakeModel(context_, tiny);
  TokenBatch batch = TokenBatch::FromIds(RandomTokens(2 * std::max<int64_t>(MetaContext(tiny), 5), tiny.vocab, 5),
                                         MetaContext(tiny), true);
  const Rows before = Logits(context_, *model, batch);
  const bool sees_everything = tiny.shift == ModelConfig::TOP && tiny.contents == ModelConfig::ENCODED;
  const int64_t offset = model->target_offset();
  for (int64_t p = 0; p < batch.length; ++p) {
    TokenBatch changed = batch;
    changed.tokens[p] = (changed.tokens[p] + 1) % tiny.vocab;
    const Rows after = Logits(context_, *model, changed);
    // The logits that score tokens up to p, p included.
    for (int64_t i = 0; i + offset <= p; ++i) EXPECT_EQ(after[i], before[i]) << "token " << p << " reached row " << i;
    bool moved = false;
    for (int64_t i = std::max<int64_t>(p + 1 - offset, 0); i < batch.length; ++i) {
      const bool row_moved = after[i] != before[i];
      if (sees_everything && tiny.scope == ModelConfig::GLOBAL) {
        EXPECT_TRUE(row_moved) << "token " << p << " does not reach row " << i;
      }
      moved |= row_moved;
      if (i + offset == p + 1 && sees_everything) {
        EXPECT_TRUE(row_moved) << "token " << p << ", the very next row";
      }
    }
    if (p + MetaContext(tiny) < batch.length) {
      EXPECT_TRUE(moved) << "token " << p << " reaches nothing";
    }
  }
}

// A document in the middle of a sequence is scored as if it stood alone.
TEST_P(Forward, DocumentsDoNotSeeEachOther) {
  const TinyModel tiny = GetParam();
  SCOPED_TRACE(Describe(tiny));
  const auto model = MakeModel(context_, tiny, DType::kF64, DType::kF64);
  const TokenBatch batch = TwoSequences(tiny, 13);
  const int64_t unit = batch.length / 3;
  const Rows together = Logits(context_, *model, batch);
  const std::vector<int32_t> ids(batch.tokens.end() - 2 * unit, batch.tokens.end());
  const Rows alone = Logits(context_, *model, TokenBatch::FromIds(ids, unit, true));
  for (int64_t i = 0; i < 2 * unit; ++i) {
    // Not bitwise: RoPE positions run on through the sequence, and only their differences matter.
    ExpectNear(together[batch.length + unit + i], alone[i], 1e-9, "row " + std::to_string(i));
  }
}

// Nothing of an earlier document reaches a later one, not by a bit.
TEST_P(Forward, EarlierDocumentsLeakNothing) {
  const TinyModel tiny = GetParam();
  SCOPED_TRACE(Describe(tiny));
  const auto model = MakeModel(context_, tiny);
  TokenBatch batch = TwoSequences(tiny, 14);
  const int64_t unit = batch.length / 3;
  const Rows before = Logits(context_, *model, batch);
  for (int64_t i = 0; i < unit; ++i) batch.tokens[batch.length + i] = 0;
  const Rows after = Logits(context_, *model, batch);
  for (size_t i = batch.length + unit; i < before.size(); ++i) EXPECT_EQ(after[i], before[i]) << i;
}

double RelativeError(const Rows& got, const Rows& want) {
  double square = 0, error = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    for (size_t j = 0; j < want[i].size(); ++j) {
      square += want[i][j] * want[i][j];
      error += (got[i][j] - want[i][j]) * (got[i][j] - want[i][j]);
    }
  }
  return std::sqrt(error / square);
}

// How far one rounding of every matrix to bf16 moves the logits measures how much this model amplifies roundings. A
// bf16 run has some six of them per product (weight, input, output; q, k, v, probabilities, gate, up on the way):
// sqrt(6) as much where they are independent, 6 where they all conspire.
TEST_P(Forward, Bf16IsWithinTheRoundingsOfItsProducts) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto exact = MakeModel(context_, GetParam(), DType::kF32, DType::kF32);
  const auto model = MakeModel(context_, GetParam(), DType::kF32, DType::kBF16);
  const TokenBatch batch = TwoSequences(GetParam(), 15);
  const Rows want = Logits(context_, *exact, batch), got = Logits(context_, *model, batch);
  for (const std::unique_ptr<Parameter>& p : exact->parameters().parameters()) {
    if (p->master.rank() < 2) continue;
    for (int64_t i = 0; i < p->elements(); ++i) {
      float& value = p->master.data<float>()[i];
      value = static_cast<float>(BFloat16(value));
    }
  }
  const double one_rounding = RelativeError(Logits(context_, *exact, batch), want);
  EXPECT_LT(RelativeError(got, want), 6 * one_rounding);
  EXPECT_GT(RelativeError(got, want), 0) << "bf16 was not used";
}

}  // namespace
}  // namespace photon::testing
