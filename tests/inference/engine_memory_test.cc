// What an engine holds is no more than it reserved, and what it reserves no more than there is.
#include <gtest/gtest.h>

#include <algorithm>

#include "inference/engine/engine.h"
#include "tests/inference/engine_cases.h"

namespace photon::testing {
namespace {

class EngineMemory : public ::testing::Test {
 protected:
  TestContext context_;
};

TEST_F(EngineMemory, HoldsNoMoreThanItReserved) {
  for (const TinyModel& tiny : {TinyModel{.chunks = {}}, TinyModel{}, TinyModel{.scope = ModelConfig::GROUP}}) {
    SCOPED_TRACE(Describe(tiny));
    const auto model = MakeModel(context_, tiny);
    const auto decoder = Decoder::Create(context_, *model);
    // One engine: what a mode's sequences held must be given back before the next one's come. Prompts take many steps.
    for (const bool share : {false, true}) {
      const EngineOptions options = {.state_bytes = 1'000'000, .prefill_tokens = 16, .share_prefixes = share};
      Engine engine(*decoder, nullptr, options);
      for (const GenerationMode mode : {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec}) {
        for (int i = 0; i < 3; ++i) {
          EngineRequest request;
          request.prompt = RandomTokens(100, 19, i);
          request.options = {.mode = mode, .max_new_tokens = 200 - 60 * i, .continuations = 2};
          SubmitTo(engine, request);
        }
        int64_t closest = 0;
        while (engine.Step()) {
          const EngineStats stats = engine.stats();
          EXPECT_LE(stats.state_bytes(), stats.reserved_bytes) << Name(mode);
          EXPECT_LE(stats.reserved_bytes + stats.prefix_bytes, options.state_bytes) << Name(mode);
          closest = std::max(closest, 100 * stats.state_bytes() / stats.reserved_bytes);
        }
        EXPECT_GT(closest, 80) << Name(mode);  // percent: nor does it reserve much in vain
        EXPECT_EQ(engine.stats().state_bytes(), 0) << Name(mode);
        EXPECT_EQ(engine.stats().reserved_bytes, 0) << Name(mode);
        EXPECT_EQ(engine.stats().prefix_bytes > 0, share) << Name(mode);
      }
    }
  }
}

TEST_F(EngineMemory, TheSmallestRequestHoldsNoMoreThanItReservedEither) {
  const auto model = MakeModel(context_, {});
  const auto decoder = Decoder::Create(context_, *model);
  for (const GenerationMode mode : {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec}) {
    Engine engine(*decoder, nullptr, {});
    EngineRequest request;
    request.prompt = {1};
    request.options = {.mode = mode, .max_new_tokens = 6};
    SubmitTo(engine, request);
    while (engine.Step()) EXPECT_LE(engine.stats().state_bytes(), engine.stats().reserved_bytes) << Name(mode);
  }
}

TEST_F(EngineMemory, TellsHowManyTokensFit) {
  const auto model = MakeModel(context_, {});
  const auto decoder = Decoder::Create(context_, *model);
  for (const bool share : {false, true}) {
    Engine engine(*decoder, nullptr, {.state_bytes = 100'000, .max_context = 5000, .share_prefixes = share});
    const auto submitted = [&](EngineRequest request, int64_t tokens) {
      request.options.max_new_tokens = tokens;
      return engine.Submit(request, std::make_shared<Recorder>()).status();
    };
    for (const GenerationMode mode : {GenerationMode::kHier, GenerationMode::kRec}) {
      EngineRequest request;
      request.prompt = RandomTokens(40, 19, 1);
      request.options.mode = mode;
      request.options.continuations = 2;
      const int64_t most = engine.MostNewTokens(request, 10'000);
      EXPECT_GT(most, 0);
      EXPECT_TRUE(submitted(request, most).ok());
      EXPECT_FALSE(submitted(request, most + 1).ok());
      EXPECT_EQ(engine.MostNewTokens(request, 7), 7);
    }
    EngineRequest whole;
    whole.prompt = RandomTokens(5000, 19, 1);
    EXPECT_EQ(engine.MostNewTokens(whole, 10), 0);
  }
}

// Also when nothing else is at work.
TEST_F(EngineMemory, WindowsGoWithTheLastThatUsedThem) {
  const auto model = MakeModel(context_, {});
  const auto decoder = Decoder::Create(context_, *model);
  for (const GenerationMode mode : {GenerationMode::kHierParallel, GenerationMode::kRec}) {
    Engine engine(*decoder, nullptr, {.share_prefixes = false});
    EngineRequest endless;
    endless.prompt = RandomTokens(100, 19, 1);
    endless.options = {.mode = mode, .max_new_tokens = 10'000, .continuations = 2};
    RequestId id = 0;
    SubmitTo(engine, endless, &id);
    for (int i = 0; i < 4; ++i) engine.Step();
    EXPECT_GT(engine.stats().window_bytes, 0);
    engine.Cancel(id);
    engine.Step();
    EXPECT_EQ(engine.stats().state_bytes(), 0) << Name(mode);
  }
}

}  // namespace
}  // namespace photon::testing
