// Requests to an engine in tests, and what becomes of them.
#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "inference/engine/engine.h"
#include "inference/generate.h"
#include "tests/support/models.h"
#include "tests/support/tensors.h"

namespace photon::testing {

// Writes down all that it is told.
class Recorder : public RequestListener {
 public:
  struct Heard {
    std::vector<int32_t> tokens;
    std::vector<Choice> choices;
    std::string text;
    std::vector<Continuation> finished;  // one at most
  };

  void OnStart(int64_t tokens) override { reused = tokens; }
  void OnTokens(int64_t continuation, absl::Span<const int32_t> tokens, absl::Span<const Choice> choices,
                absl::string_view text) override {
    EXPECT_FALSE(tokens.empty() && text.empty());
    Heard& heard = Of(continuation);
    EXPECT_TRUE(heard.finished.empty());
    heard.tokens.insert(heard.tokens.end(), tokens.begin(), tokens.end());
    heard.choices.insert(heard.choices.end(), choices.begin(), choices.end());
    absl::StrAppend(&heard.text, text);
    ++bursts;
  }
  void OnFinish(int64_t continuation, const Continuation& result) override {
    Of(continuation).finished.push_back(result);
  }
  void OnEnd(const absl::Status& status) override { ends.push_back(status); }

  bool ended() const { return !ends.empty(); }
  Heard& Of(int64_t continuation) {
    if (heard.size() <= static_cast<size_t>(continuation)) heard.resize(continuation + 1);
    return heard[continuation];
  }

  int64_t reused = -1;
  int bursts = 0;
  std::vector<Heard> heard;
  std::vector<absl::Status> ends;  // one at most
};

inline std::shared_ptr<Recorder> SubmitTo(Engine& engine, const EngineRequest& request, RequestId* id = nullptr) {
  const auto recorder = std::make_shared<Recorder>();
  const absl::StatusOr<RequestId> submitted = engine.Submit(request, recorder);
  EXPECT_TRUE(submitted.ok()) << submitted.status();
  if (id != nullptr && submitted.ok()) *id = *submitted;
  return recorder;
}

// Any request that a tiny model takes.
inline EngineRequest RandomRequest(const LanguageModel& model, std::mt19937_64& draw) {
  const auto below = [&](int64_t n) { return static_cast<int64_t>(draw() % n); };
  const int vocab = model.config().vocab_size();
  const bool flat = model.levels() == 0;
  EngineRequest request;
  request.prompt = RandomTokens(below(70) + (flat ? 1 : 0), vocab, below(1000));
  GenerateOptions& options = request.options;
  options.mode = CheckMode(model.config(), GenerationMode::kRec).ok() ? static_cast<GenerationMode>(below(3))
                                                                      : GenerationMode::kHier;
  options.max_new_tokens = below(50);
  options.continuations = below(4) == 0 ? 1 + below(3) : 1;
  options.log_probabilities = below(2) == 0 ? static_cast<int32_t>(below(3)) : -1;
  SamplingOptions& sampling = options.sampling;
  sampling.seed = draw();
  if (below(2) == 0) sampling.temperature = 0.2 * static_cast<double>(1 + below(8));
  if (below(3) == 0) sampling.top_k = static_cast<int32_t>(1 + below(vocab));
  if (below(3) == 0) sampling.top_p = 0.8;
  if (below(4) == 0) sampling.repetition_penalty = 1.2;
  if (below(4) == 0) sampling.presence_penalty = 0.5;
  if (below(4) == 0) options.stop.tokens = {static_cast<int32_t>(below(vocab))};
  return request;
}

inline void RunToEnd(Engine& engine) {
  for (int step = 0; step < 100000; ++step) {
    if (!engine.Step()) return;
  }
  FAIL() << "the engine does not come to an end";
}

inline void ExpectSame(const Continuation& got, const Continuation& want) {
  EXPECT_EQ(got.tokens, want.tokens);
  EXPECT_EQ(got.text, want.text);
  EXPECT_EQ(got.finish, want.finish);
  EXPECT_EQ(got.stop_token, want.stop_token);
  ASSERT_EQ(got.choices.size(), want.choices.size());
  for (size_t i = 0; i < got.choices.size(); ++i) {
    EXPECT_EQ(got.choices[i].token, want.choices[i].token);
    EXPECT_EQ(got.choices[i].log_probability, want.choices[i].log_probability) << "token " << i;  // bit for bit
  }
}

// All that it heard is what the request gives alone.
inline void ExpectAlone(const Decoder& decoder, const EngineRequest& request, Recorder& recorder) {
  const auto alone = Generate(decoder, request.prompt, request.options);
  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_EQ(recorder.ends.size(), 1u);
  EXPECT_TRUE(recorder.ends[0].ok()) << recorder.ends[0];
  ASSERT_EQ(recorder.heard.size(), alone->continuations.size());
  for (size_t c = 0; c < recorder.heard.size(); ++c) {
    const Recorder::Heard& heard = recorder.heard[c];
    ASSERT_EQ(heard.finished.size(), 1u);
    ExpectSame(heard.finished[0], alone->continuations[c]);
    EXPECT_EQ(heard.tokens, alone->continuations[c].tokens);
    EXPECT_EQ(heard.text, alone->continuations[c].text);
  }
}

}  // namespace photon::testing
