#include "inference/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/steady_time.h"
#include "tests/inference/engine_cases.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

Context Invariant(const Context& context) {
  Context invariant = context;
  invariant.SetBatchInvariant(true);
  return invariant;
}

class EngineTest : public ::testing::Test {
 protected:
  // Random requests that come at random steps, some cancelled: each as if it were alone.
  void RunMix(const LanguageModel& model, const Decoder& decoder, uint64_t seed) {
    SCOPED_TRACE(absl::StrCat("mix ", seed));
    std::mt19937_64 draw(seed);
    EngineOptions options;
    options.max_running = 3 + static_cast<int64_t>(draw() % 10);
    options.prefill_tokens = 1 + static_cast<int64_t>(draw() % 60);
    options.share_prefixes = draw() % 2 == 0;
    if (draw() % 2 == 0) options.state_bytes = int64_t{12'500} * model.config().width();
    Engine engine(decoder, nullptr, options);
    struct Sent {
      EngineRequest request;
      std::shared_ptr<Recorder> recorder;
      bool cancelled;
    };
    std::vector<Sent> sent;
    const size_t count = 3 + draw() % 8;
    while (sent.size() < count) {
      EngineRequest request = RandomRequest(model, draw);
      // Some begin like an earlier one.
      if (!sent.empty() && draw() % 2 == 0) {
        const std::vector<int32_t>& before = sent[draw() % sent.size()].request.prompt;
        std::copy_n(before.begin(), std::min(before.size(), request.prompt.size()), request.prompt.begin());
      }
      RequestId id = 0;
      const auto recorder = SubmitTo(engine, request, &id);
      const bool cancelled = draw() % 8 == 0;
      for (uint64_t steps = draw() % 4; steps > 0; --steps) engine.Step();
      if (cancelled) engine.Cancel(id);
      sent.push_back({request, recorder, cancelled});
    }
    RunToEnd(engine);
    for (Sent& one : sent) {
      ASSERT_TRUE(one.recorder->ended());
      if (one.cancelled && absl::IsCancelled(one.recorder->ends[0])) continue;
      ExpectAlone(decoder, one.request, *one.recorder);
    }
    const EngineStats stats = engine.stats();
    EXPECT_EQ(stats.running, 0);
    EXPECT_EQ(stats.waiting, 0);
    EXPECT_EQ(stats.reserved_bytes, 0);
    EXPECT_LE(stats.prefix_bytes, options.state_bytes);
  }

  TestContext context_;
};

class EngineMixes : public EngineTest, public ::testing::WithParamInterface<TinyModel> {};

TEST_P(EngineMixes, EachRequestIsAsIfItWereAlone) {
  const Context context = Invariant(context_);
  const auto model = MakeModel(context, GetParam());
  const auto decoder = Decoder::Create(context, *model);
  for (uint64_t seed = 0; seed < 30; ++seed) RunMix(*model, *decoder, seed);
}

INSTANTIATE_TEST_SUITE_P(Models, EngineMixes,
                         ::testing::Values(TinyModel{.chunks = {}}, TinyModel{.chunks = {4}}, TinyModel{},
                                           TinyModel{.chunks = {2, 3}}, TinyModel{.chunks = {2, 2, 2}},
                                           TinyModel{.scope = ModelConfig::GROUP},
                                           TinyModel{.chunks = {4, 2}, .contents = ModelConfig::RECONSTRUCTED},
                                           TinyModel{.chunks = {2, 2}, .shift = ModelConfig::ALL}));

class EngineMixesInBf16 : public EngineTest, public ::testing::WithParamInterface<TinyModel> {};

TEST_P(EngineMixesInBf16, AreExactTooWhereProductsAreBatchInvariant) {
  const Context context = Invariant(context_);
  const auto model = MakeModel(context, GetParam(), DType::kF32, DType::kBF16);
  const auto decoder = Decoder::Create(context, *model);
  for (uint64_t seed = 0; seed < 40; ++seed) RunMix(*model, *decoder, seed);
}

// Wide enough that orders of summation differ in bf16's bits.
INSTANTIATE_TEST_SUITE_P(Models, EngineMixesInBf16,
                         ::testing::Values(TinyModel{.chunks = {}, .width = 192},
                                           TinyModel{.chunks = {4}, .width = 192}, TinyModel{.width = 192},
                                           TinyModel{.chunks = {2, 3}, .width = 192},
                                           TinyModel{.width = 192, .scope = ModelConfig::GROUP}));

// More rows than any one kernel takes at once, with products as they are without invariance.
TEST_F(EngineTest, WithoutInvarianceLogProbabilitiesDifferByRounding) {
  const auto first_choices = [&](DType compute, bool together) {
    const auto model = MakeModel(context_, {.width = 192, .loudness = TinyModel::kOrdinary}, DType::kF32, compute);
    const auto decoder = Decoder::Create(context_, *model);
    Engine engine(*decoder, nullptr, {});
    std::vector<std::shared_ptr<Recorder>> recorders;
    for (int i = 0; i < 40; ++i) {
      EngineRequest request;
      request.prompt = RandomTokens(16, 19, i);
      request.options = {.max_new_tokens = 1, .log_probabilities = 0};
      request.options.sampling.logit_bias = {{5, 100}};  // all the same choice: what is compared is its logarithm
      recorders.push_back(SubmitTo(engine, request));
      if (!together) RunToEnd(engine);
    }
    RunToEnd(engine);
    std::vector<double> logarithms;
    for (const auto& recorder : recorders) logarithms.push_back(recorder->heard[0].choices[0].log_probability);
    return logarithms;
  };
  const std::vector<double> exact = first_choices(DType::kF32, /*together=*/false);
  const std::vector<double> exact_together = first_choices(DType::kF32, true);
  const std::vector<double> alone = first_choices(DType::kBF16, false), together = first_choices(DType::kBF16, true);
  double square = 0;
  for (size_t i = 0; i < 40; ++i) square += (alone[i] - exact[i]) * (alone[i] - exact[i]) / 40;
  ASSERT_GT(square, 0);
  // Both are the exact value with roundings of one size: their difference is sqrt(2) of one's error in the mean, and
  // five times that is beyond chance.
  const double bound = 5 * std::sqrt(2 * square);
  int different = 0;
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_NEAR(exact_together[i], exact[i], 1e-4) << i;  // the bound that users are promised
    EXPECT_NEAR(together[i], alone[i], bound) << i;
    different += together[i] != alone[i];
  }
  EXPECT_GT(different, 0) << "rounds alike: this test shows nothing";
}

TEST_F(EngineTest, APromptsBeginningIsReadOnce) {
  const Context context = Invariant(context_);
  const auto model = MakeModel(context, {});
  const auto decoder = Decoder::Create(context, *model);
  Engine engine(*decoder, nullptr, {});
  EngineRequest first;
  first.prompt = RandomTokens(50, 19, 1);  // three meta-contexts of 16, and two tokens
  first.options.max_new_tokens = 8;
  EngineRequest second = first;
  second.prompt.resize(40);
  second.prompt.push_back(3);
  // Together and one after the other.
  const auto a = SubmitTo(engine, first), b = SubmitTo(engine, second);
  RunToEnd(engine);
  const auto c = SubmitTo(engine, first);
  RunToEnd(engine);
  EXPECT_EQ(a->reused, 0);
  EXPECT_EQ(b->reused, 32);
  EXPECT_EQ(c->reused, 48);
  EXPECT_EQ(engine.stats().reused_tokens, 80);
  ExpectAlone(*decoder, first, *a);
  ExpectAlone(*decoder, second, *b);
  ExpectAlone(*decoder, first, *c);
}

// Steps until a prompt of `tokens` is read, a short one joining at each. `after_step` is told of that one.
int StepsToRead(const TestContext& context, int64_t prefill_tokens, int64_t tokens, int64_t short_tokens,
                const std::function<void(const Recorder& short_one)>& after_step) {
  const auto model = MakeModel(context, {});
  const auto decoder = Decoder::Create(context, *model);
  Engine engine(*decoder, nullptr, {.prefill_tokens = prefill_tokens, .share_prefixes = false});
  EngineRequest request;
  request.prompt = {1, 2, 3};
  request.options.max_new_tokens = 100000;
  RequestId endless = 0;
  SubmitTo(engine, request, &endless);  // so that slices are those of prefill_tokens
  engine.Step();
  request.prompt = RandomTokens(tokens, 19, 1);
  request.options.max_new_tokens = 1;
  const auto long_one = SubmitTo(engine, request);
  int steps = 0;
  for (; !long_one->ended() && steps < 1000; ++steps) {
    request.prompt = RandomTokens(short_tokens, 19, steps);
    const auto short_one = SubmitTo(engine, request);
    engine.Step();
    after_step(*short_one);
  }
  engine.Cancel(endless);
  return steps;
}

// A long prompt is read all the same while short ones keep coming.
TEST_F(EngineTest, ShortPromptsDoNotWaitForLongOnes) {
  const int steps = StepsToRead(context_, /*prefill_tokens=*/64, 3200, 40,
                                [](const Recorder& short_one) { EXPECT_TRUE(short_one.ended()); });
  EXPECT_LE(steps, 3200 / 32 + 1);  // by half a slice a step
}

// Of the smallest slices too one half is the long prompt's. The short ones are a unit and a rest each.
TEST_F(EngineTest, LongPromptsDoNotWaitForShortOnes) {
  const int steps = StepsToRead(context_, /*prefill_tokens=*/1, 160, 17, [](const Recorder&) {});
  EXPECT_LE(steps, 160 / 16 + 1);  // by a unit a step
}

TEST_F(EngineTest, NoNumberEndsThatRequestAlone) {
  const auto model = MakeModel(context_, {});
  const auto decoder = Decoder::Create(context_, *model);
  for (const std::string name : {"encoder_embedding.weight", "decoder_embedding.weight"}) {
    const Parameter* embedding = model->parameters().Find(name);
    ASSERT_NE(embedding, nullptr);
    const int64_t width = embedding->master.dim(1);
    for (int64_t i = 0; i < width; ++i) SetElement(context_, embedding->master, 7 * width + i, std::nan(""));
  }
  Engine engine(*decoder, nullptr, {});
  EngineRequest good;
  good.prompt = {1, 2, 3};
  good.options.max_new_tokens = 30;
  good.options.sampling.logit_bias = {{7, -1e38}};
  EngineRequest bad = good;
  bad.prompt = {7, 7, 7, 7};
  const auto a = SubmitTo(engine, good), b = SubmitTo(engine, bad);
  RunToEnd(engine);
  ExpectAlone(*decoder, good, *a);
  ASSERT_TRUE(b->ended());
  EXPECT_EQ(b->ends[0].code(), absl::StatusCode::kDataLoss) << b->ends[0];
}

TEST_F(EngineTest, CancelledAndLateRequestsLeaveWithinAStep) {
  const auto model = MakeModel(context_, {});
  const auto decoder = Decoder::Create(context_, *model);
  Engine engine(*decoder, nullptr, {.max_running = 2});
  EngineRequest endless;
  endless.prompt = {1, 2, 3};
  endless.options.max_new_tokens = 100000;
  RequestId running = 0, waiting = 0;
  const auto a = SubmitTo(engine, endless, &running);
  EngineRequest late = endless;
  late.deadline = SteadyNow();
  const auto b = SubmitTo(engine, late), c = SubmitTo(engine, endless);
  const auto d = SubmitTo(engine, endless, &waiting);
  engine.Step();
  ASSERT_TRUE(b->ended());
  EXPECT_EQ(b->ends[0].code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(engine.stats().running, 2);
  EXPECT_EQ(engine.stats().waiting, 1);
  engine.Cancel(running);
  engine.Cancel(waiting);
  engine.Step();
  EXPECT_TRUE(a->ended() && absl::IsCancelled(a->ends[0]));
  EXPECT_TRUE(d->ended() && absl::IsCancelled(d->ends[0]));
  EXPECT_EQ(engine.stats().running, 1);
  EXPECT_FALSE(c->ended());
  engine.Shutdown();
  EXPECT_TRUE(c->ended() && absl::IsUnavailable(c->ends[0]));
  EXPECT_EQ(engine.Submit(endless, c).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine.stats().reserved_bytes, 0);
}

TEST_F(EngineTest, RefusesWhatCouldNeverRun) {
  const auto model = MakeModel(context_, {});
  const auto decoder = Decoder::Create(context_, *model);
  Engine engine(*decoder, nullptr, {.state_bytes = 100'000, .max_running = 2, .max_waiting = 1, .max_context = 5000});
  const auto refusal = [&](const EngineRequest& request) {
    return std::string(engine.Submit(request, std::make_shared<Recorder>()).status().message());
  };
  EngineRequest good;
  good.prompt = {1, 2, 3};
  good.options.max_new_tokens = 4;
  EngineRequest request = good;
  request.prompt = {19};
  EXPECT_THAT(refusal(request), HasSubstr("19"));
  request = good;
  request.options.continuations = 3;
  EXPECT_THAT(refusal(request), HasSubstr("3 continuations go at once, and --max-running is 2"));
  request = good;
  request.options.max_new_tokens = 4998;
  EXPECT_THAT(refusal(request), HasSubstr("the context is 5000 tokens"));
  request.options.max_new_tokens = 4000;
  EXPECT_THAT(refusal(request), HasSubstr("--state-memory is 100.0 kB"));
  const auto taken = SubmitTo(engine, good);
  EXPECT_EQ(engine.Submit(good, taken).status().code(), absl::StatusCode::kResourceExhausted);
  RunToEnd(engine);
  ExpectAlone(*decoder, good, *taken);
}

// Whenever a step looks at what was submitted and cancelled.
TEST_F(EngineTest, NoCancellationIsLost) {
  const auto model = MakeModel(context_, {});
  const auto decoder = Decoder::Create(context_, *model);
  Engine engine(*decoder, nullptr, {.max_waiting = 10'000});
  EngineRequest endless;
  endless.prompt = {1, 2, 3};
  endless.options.max_new_tokens = 10'000;
  std::atomic<bool> over = false;
  std::thread client([&] {
    for (int i = 0; i < 5000; ++i) {
      RequestId id = 0;
      SubmitTo(engine, endless, &id);
      engine.Cancel(id);
    }
    over = true;
  });
  while (!over) engine.Step();
  client.join();
  for (int i = 0; i < 3; ++i) engine.Step();
  EXPECT_EQ(engine.stats().running + engine.stats().waiting, 0);
}

TEST_F(EngineTest, RequestsFromManyThreads) {
  const Context context = Invariant(context_);
  const auto model = MakeModel(context, {});
  const auto decoder = Decoder::Create(context, *model);
  Engine engine(*decoder, nullptr, {.max_running = 5});
  std::vector<std::pair<EngineRequest, std::shared_ptr<Recorder>>> sent(24);
  std::atomic<int> submitted = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 draw(t);
      for (size_t i = t; i < sent.size(); i += 4) {
        sent[i].first = RandomRequest(*model, draw);
        sent[i].second = SubmitTo(engine, sent[i].first);
        engine.stats();
        ++submitted;
      }
    });
  }
  while (submitted < 24) {
    engine.WaitForWork(absl::Milliseconds(10));
    engine.Step();
  }
  for (std::thread& thread : threads) thread.join();
  RunToEnd(engine);
  for (auto& [request, recorder] : sent) ExpectAlone(*decoder, request, *recorder);
}

}  // namespace
}  // namespace photon::testing
