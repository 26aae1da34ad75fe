// hier-parallel and rec against their definitions (PHOTON paper, A.2 and A.3), computed from scratch for every token:
// full forward passes of stacks over whole histories, no caches, nothing of inference/.
#include <gtest/gtest.h>

#include <algorithm>

#include "configs/model_config.h"
#include "inference/generate.h"
#include "inference/meta_context_decoder.h"
#include "model/model_input.h"
#include "tests/support/models.h"
#include "tests/support/reference_model.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

using Feedback = MetaContextDecoder::Feedback;

int32_t Best(const std::vector<double>& logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

class Definition {
 public:
  Definition(const Context& context, const PhotonModel& model, Feedback feedback)
      : context_(context), model_(model), feedback_(feedback), meta_(ChunkProduct(model.config(), model.levels())) {}

  // Greedy continuation; logits of every new token are left in logits().
  std::vector<int32_t> Continue(std::vector<int32_t> tokens, size_t new_tokens) {
    const size_t wanted = tokens.size() + new_tokens, prompt = tokens.size();
    while (tokens.size() % meta_ != 0 && tokens.size() < wanted) Exactly(tokens);
    std::vector<double> inputs = TopInputs(tokens);  // A^L of all meta-contexts so far
    while (tokens.size() < wanted) {
      std::vector<double> reconstructed;
      const std::vector<int32_t> burst = MetaContext(TopSource(inputs), reconstructed);
      tokens.insert(tokens.end(), burst.begin(), burst.end());
      if (feedback_ == Feedback::kTokens) {
        inputs = TopInputs(tokens);
      } else {
        const std::vector<double> next = Chunk(model_.levels(), reconstructed);
        inputs.insert(inputs.end(), next.begin(), next.end());
      }
    }
    logits_.resize(new_tokens);
    return {tokens.begin() + prompt, tokens.begin() + wanted};
  }
  const Rows& logits() const { return logits_; }

 private:
  int64_t width() const { return model_.config().width(); }
  Tensor Upload(const std::vector<double>& values) const {
    return FromDoubles(context_, values, {static_cast<int64_t>(values.size()) / width(), width()},
                       model_.master_type());
  }
  std::vector<double> Chunk(int l, const std::vector<double>& below) {
    return ToDoubles(context_, model_.level(l).chunker.Forward(tape_, Var(Upload(below))).value);
  }

  // The next token by the training forward.
  void Exactly(std::vector<int32_t>& tokens) {
    std::vector<int32_t> padded = tokens;
    padded.push_back(0);
    logits_.push_back(Logits(context_, model_, TokenBatch::FromIds(padded, meta_, true))[tokens.size()]);
    tokens.push_back(Best(logits_.back()));
  }

  // A^L of whole meta-contexts, all encoders below the top run over everything.
  std::vector<double> TopInputs(const std::vector<int32_t>& tokens) {
    if (tokens.empty()) return {};
    const TokenBatch batch = TokenBatch::FromIds(tokens, meta_, true);
    Var x = model_.EmbedForEncoder(tape_, IntTensor(context_, tokens));
    for (int l = 1;; ++l) {
      const Var chunks = model_.level(l).chunker.Forward(tape_, x);
      if (l == model_.levels()) return ToDoubles(context_, chunks.value);
      const AttentionPlan plan = ModelInput(context_, model_, batch).encoder(l);
      x = model_.level(l).encoder.Forward(tape_, chunks, plan, model_.RopeTable(context_, plan.shape.length), false);
    }
  }

  // X^L of the last meta-context, or the start latent.
  std::vector<double> TopSource(const std::vector<double>& inputs) {
    const Level& top = model_.level(model_.levels());
    if (inputs.empty()) return ToDoubles(context_, top.start->master.Reshape({1, width()}));
    const int64_t units = static_cast<int64_t>(inputs.size()) / width();
    const AttentionPlan plan = model_.plans().Causal(context_, 1, units);
    const Var x = top.encoder.Forward(tape_, Var(Upload(inputs)), plan, model_.RopeTable(context_, units), false);
    return ToDoubles(context_, x.value.Rows(units - 1, units));
  }

  std::vector<int32_t> MetaContext(const std::vector<double>& source, std::vector<double>& reconstructed) {
    std::vector<double> s = source;
    for (int l = model_.levels(); l >= 2; --l) {
      s = ToDoubles(context_, model_.DecodeLevel(tape_, l, Var(Upload(s)), Var()).value);
      if (l == model_.levels()) reconstructed = s;
    }
    const int64_t chunk = model_.level(1).chunk;
    std::vector<int32_t> tokens(meta_, 0);
    const size_t before = logits_.size();
    logits_.resize(before + meta_);
    for (int64_t j = 0; j < chunk; ++j) {  // tokens at later slots are zeros: nothing sees them
      const Var contents = model_.EmbedTokens(tape_, IntTensor(context_, tokens));
      const Var hidden = model_.DecodeLevel(tape_, 1, Var(Upload(s)), contents);
      const std::vector<double> values = ToDoubles(context_, model_.Head(tape_, hidden).value);
      const int64_t v = model_.config().vocab_size();
      for (int64_t i = j; i < meta_; i += chunk) {
        logits_[before + i].assign(values.begin() + i * v, values.begin() + (i + 1) * v);
        tokens[i] = Best(logits_[before + i]);
      }
    }
    return tokens;
  }

  const Context& context_;
  const PhotonModel& model_;
  Feedback feedback_;
  int64_t meta_;
  Tape tape_{context_, Tape::Mode::kEvaluate};
  Rows logits_;
};

std::vector<TinyModel> Models() {
  std::vector<TinyModel> all;
  for (TinyModel tiny :
       {TinyModel{.chunks = {4, 4}}, TinyModel{.chunks = {2, 3}, .prefixes = {1, 3}, .kv_heads = 2},
        TinyModel{.chunks = {3, 2, 2}, .layers = 2}, TinyModel{.chunks = {1, 4}}, TinyModel{.chunks = {2, 1}}}) {
    for (auto contents : {ModelConfig::ENCODED, ModelConfig::RECONSTRUCTED}) {
      for (auto scope : {ModelConfig::GLOBAL, ModelConfig::GROUP}) {
        tiny.contents = contents;
        tiny.scope = scope;
        all.push_back(tiny);
      }
    }
  }
  return all;
}

class MetaContext : public ::testing::TestWithParam<TinyModel> {
 protected:
  void SetUp() override {
    model_ = MakeModel(context_, GetParam(), DType::kF64, DType::kF64);
    meta_ = ChunkProduct(model_->config(), model_->levels());
  }
  const PhotonModel& photon() const { return static_cast<const PhotonModel&>(*model_); }

  TestContext context_;
  std::unique_ptr<LanguageModel> model_;
  int64_t meta_ = 0;
};
INSTANTIATE_TEST_SUITE_P(AllModels, MetaContext, ::testing::ValuesIn(Models()),
                         [](const auto& info) { return "n" + std::to_string(info.index); });

TEST_P(MetaContext, GenerateWhatTheirDefinitionsSay) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto decoder = Decoder::Create(context_, *model_, context_.device());  // its steps recorded, on a GPU
  for (Feedback feedback : {Feedback::kTokens, Feedback::kReconstruction}) {
    GenerateOptions options;
    options.mode = feedback == Feedback::kTokens ? GenerationMode::kHierParallel : GenerationMode::kRec;
    options.max_new_tokens = 2 * meta_ + 1;
    for (int64_t length : std::vector<int64_t>{0, 1, meta_ - 1, meta_, 2 * meta_ + 1}) {
      const std::vector<int32_t> prompt = RandomTokens(length, GetParam().vocab, 50 + length);
      const auto got = Generate(*decoder, prompt, options);
      ASSERT_TRUE(got.ok()) << got.status();
      Definition slow(context_, photon(), feedback);
      EXPECT_EQ(got->continuations[0].tokens, slow.Continue(prompt, options.max_new_tokens))
          << Name(options.mode) << ", prompt of " << length;
    }
  }
}

// Logits, two sequences of different lengths at once.
TEST_P(MetaContext, LogitsOfABatchAreTheirDefinitions) {
  SCOPED_TRACE(Describe(GetParam()));
  const PhotonDecoder decoder(context_, photon(), context_.device());
  for (Feedback feedback : {Feedback::kTokens, Feedback::kReconstruction}) {
    std::vector<DecodingState> states;
    std::vector<Definition> slow;
    for (int64_t s = 0; s < 2; ++s) {
      const std::vector<int32_t> prompt = RandomTokens((1 + 2 * s) * meta_, GetParam().vocab, 70 + s);
      states.push_back(decoder.NewState(0));
      decoder.Prefill(states.back(), prompt);
      slow.emplace_back(context_, photon(), feedback).Continue(prompt, 3 * meta_);
    }
    MetaContextDecoder fast(context_, decoder, feedback);
    const std::vector<DecodingState*> batch = {&states[0], &states[1]};
    fast.TakeOver(batch);
    for (int64_t burst = 0; burst < 3; ++burst) {
      fast.Decode(batch, [&](const Tensor& logits, absl::Span<const MetaContextDecoder::Place> places) {
        const std::vector<double> values = ToDoubles(context_, logits);
        std::vector<int32_t> tokens;
        for (size_t r = 0; r < places.size(); ++r) {
          const auto row = values.begin() + static_cast<int64_t>(r) * logits.dim(1);
          const std::vector<double> own(row, row + logits.dim(1));
          const int64_t token = burst * meta_ + places[r].offset;
          // Double precision: a difference of method shows, rounding (2^-53, magnified some 1e5 times) doesn't.
          ExpectNear(LogSoftmax(own), LogSoftmax(slow[places[r].sequence].logits()[token]), 1e-10,
                     "sequence " + std::to_string(places[r].sequence) + ", token " + std::to_string(token));
          tokens.push_back(Best(own));
        }
        return tokens;
      });
    }
  }
}

// rec keeps n_L T / C_<=L positions, hier-parallel those of hier; windows: one for every unit of a meta-context.
TEST_P(MetaContext, StateBytesAreTheFormulas) {
  SCOPED_TRACE(Describe(GetParam()));
  const TinyModel& tiny = GetParam();
  const int levels = static_cast<int>(tiny.chunks.size());
  const int64_t position = 2 * (tiny.width / tiny.heads) * tiny.kv_heads * 8 * tiny.layers;  // K and V in a stack, f64
  const int64_t length = 2 * meta_ + 1, total = 5 * meta_;
  int64_t windows = 0;
  for (int l = 1; l <= levels; ++l) {
    const int64_t units = meta_ / ChunkProduct(model_->config(), l);
    windows += units * position * (tiny.chunks[l - 1] + (tiny.prefixes.empty() ? 2 : tiny.prefixes[l - 1]) - 1);
  }
  GenerateOptions options;
  options.max_new_tokens = total - length;
  const std::vector<int32_t> prompt = RandomTokens(length, tiny.vocab, 9);

  options.mode = GenerationMode::kRec;
  const auto rec = Generate(context_, *model_, prompt, options);
  ASSERT_TRUE(rec.ok());
  EXPECT_EQ(rec->bytes.context, position * 5);
  EXPECT_EQ(rec->bytes.windows, windows);

  options.mode = GenerationMode::kHierParallel;
  const auto parallel = Generate(context_, *model_, prompt, options);
  ASSERT_TRUE(parallel.ok());
  int64_t want = position * 5;
  if (tiny.scope == ModelConfig::GLOBAL) {
    for (int l = 1; l < levels; ++l) want += position * (total / ChunkProduct(model_->config(), l));
  }  // with GROUP the groups of whole meta-contexts are complete: none is held
  EXPECT_EQ(parallel->bytes.context, want);
  EXPECT_EQ(parallel->bytes.windows, windows);
}

// The known property of rec: what it samples never reaches later meta-contexts; in hier-parallel it does.
TEST_P(MetaContext, OnlyRecForgetsItsTokens) {
  SCOPED_TRACE(Describe(GetParam()));
  const PhotonDecoder decoder(context_, photon());
  const std::vector<int32_t> prompt = RandomTokens(meta_, GetParam().vocab, 81);
  for (Feedback feedback : {Feedback::kTokens, Feedback::kReconstruction}) {
    std::vector<std::vector<double>> second;  // logits at the second meta-context's first token
    for (int32_t sampled : {1, 2}) {
      DecodingState state = decoder.NewState(0);
      decoder.Prefill(state, prompt);
      MetaContextDecoder meta(context_, decoder, feedback);
      meta.TakeOver({&state});
      std::vector<double> first_logits;
      const auto choose = [&](const Tensor& logits, absl::Span<const MetaContextDecoder::Place> places) {
        if (places[0].offset == 0) first_logits = ToDoubles(context_, logits.Rows(0, 1));
        return std::vector<int32_t>(places.size(), sampled);
      };
      meta.Decode({&state}, choose);
      meta.Decode({&state}, choose);
      second.push_back(first_logits);
    }
    EXPECT_EQ(second[0] == second[1], feedback == Feedback::kReconstruction);
  }
}

}  // namespace
}  // namespace photon::testing
