#include "inference/server/completion_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/random.h"
#include "tests/inference/request_cases.h"

namespace photon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CompletionRequest Parsed(const std::string& body) { return Accepted(ParseCompletionRequest, body); }

TEST(CompletionRequest, DefaultsAreOpenAIs) {
  const CompletionRequest request = Parsed(R"({"prompt": "x"})");
  EXPECT_EQ(request.model, "");
  EXPECT_THAT(request.prompts, ElementsAre(Prompt("x")));
  EXPECT_EQ(request.options.mode, GenerationMode::kHier);
  EXPECT_EQ(request.options.max_new_tokens, 16);
  EXPECT_EQ(request.options.sampling.temperature, 1);
  EXPECT_EQ(request.options.sampling.top_p, 1);
  EXPECT_EQ(request.options.continuations, 1);
  EXPECT_EQ(request.options.log_probabilities, -1);
  EXPECT_EQ(request.n, 1);
  EXPECT_FALSE(request.seed.has_value());
  EXPECT_FALSE(request.stream || request.echo || request.logprobs || request.ignore_eos || request.return_token_ids);
}

TEST(CompletionRequest, VotesOfAllContinuationsReturnOne) {
  const CompletionRequest request = Parsed(R"({"prompt": "x", "n": 8, "vote": "= ([0-9]+)$"})");
  EXPECT_EQ(request.n, 1);
  EXPECT_EQ(request.options.continuations, 8);
  EXPECT_EQ(request.options.log_probabilities, 0);
  EXPECT_FALSE(request.logprobs);
  std::string answer;
  ASSERT_TRUE(request.vote.has_value() && request.vote->Find("1 + 1 = 2", &answer));
  EXPECT_EQ(answer, "2");
}

TEST(CompletionRequest, NullIsAbsent) {
  const CompletionRequest request = Parsed(
      R"({"prompt": "x", "max_tokens": null, "temperature": null, "stop": null, "seed": null, "logprobs": null,
          "suffix": null, "logit_bias": null, "stream": null, "stream_options": null, "best_of": null, "user": null})");
  EXPECT_EQ(request.options.max_new_tokens, 16);
  EXPECT_FALSE(request.seed.has_value());
}

TEST(CompletionRequest, ReadsEveryField) {
  const CompletionRequest request = Parsed(
      R"({"model": "m", "prompt": "x", "max_tokens": 40, "temperature": 0.5, "top_p": 0.9, "n": 2, "best_of": 3,
          "stop": ["a", "b"], "logprobs": 5, "presence_penalty": 0.1, "frequency_penalty": 0.2,
          "logit_bias": {"3": -100, "4": 1.5}, "seed": -1, "user": "u", "mode": "rec", "min_tokens": 2, "top_k": 7,
          "min_p": 0.05, "typical_p": 0.95, "repetition_penalty": 1.1, "stop_token_ids": [5], "ignore_eos": true,
          "return_token_ids": true, "a_field_that_nobody_knows": 1})");
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.n, 2);
  EXPECT_EQ(request.seed, UINT64_MAX);
  EXPECT_TRUE(request.logprobs && request.ignore_eos && request.return_token_ids);
  const GenerateOptions& options = request.options;
  EXPECT_EQ(options.mode, GenerationMode::kRec);
  EXPECT_EQ(options.max_new_tokens, 40);
  EXPECT_EQ(options.continuations, 3);
  EXPECT_EQ(options.log_probabilities, 5);
  EXPECT_EQ(options.stop.min_new_tokens, 2);
  EXPECT_THAT(options.stop.strings, ElementsAre("a", "b"));
  EXPECT_THAT(options.stop.tokens, ElementsAre(5));
  const SamplingOptions& sampling = options.sampling;
  EXPECT_EQ(sampling.temperature, 0.5);
  EXPECT_EQ(sampling.top_p, 0.9);
  EXPECT_EQ(sampling.top_k, 7);
  EXPECT_EQ(sampling.min_p, 0.05);
  EXPECT_EQ(sampling.typical_p, 0.95);
  EXPECT_EQ(sampling.repetition_penalty, 1.1);
  EXPECT_EQ(sampling.presence_penalty, 0.1);
  EXPECT_EQ(sampling.frequency_penalty, 0.2);
  ASSERT_EQ(sampling.logit_bias.size(), 2u);
  EXPECT_EQ(sampling.logit_bias[0].token, 3);
  EXPECT_EQ(sampling.logit_bias[0].bias, -100);
}

TEST(CompletionRequest, PromptsHaveFourForms) {
  using Ids = std::vector<int32_t>;
  EXPECT_THAT(Parsed(R"({"prompt": ""})").prompts, ElementsAre(Prompt("")));
  EXPECT_THAT(Parsed(R"({"prompt": ["a", "b"]})").prompts, ElementsAre(Prompt("a"), Prompt("b")));
  EXPECT_THAT(Parsed(R"({"prompt": [1, 2]})").prompts, ElementsAre(Prompt(Ids{1, 2})));
  EXPECT_THAT(Parsed(R"({"prompt": [[1], [2, 3]]})").prompts, ElementsAre(Prompt(Ids{1}), Prompt(Ids{2, 3})));
  EXPECT_THAT(Parsed(R"({"prompt": [[]]})").prompts, ElementsAre(Prompt(Ids{})));
}

TEST(CompletionRequest, ChoosingTheBestNeedsLogProbabilities) {
  const CompletionRequest request = Parsed(R"({"prompt": "x", "best_of": 4})");
  EXPECT_EQ(request.options.log_probabilities, 0);
  EXPECT_FALSE(request.logprobs);
}

TEST(CompletionRequest, AsVllmTakesThem) {
  EXPECT_EQ(Parsed(R"({"prompt": "x", "top_k": -1})").options.sampling.top_k, 0);
  EXPECT_THAT(Parsed(R"({"prompt": "x", "stop": "a"})").options.stop.strings, ElementsAre("a"));
  EXPECT_THAT(Parsed(R"({"prompt": "x", "response_format": {"type": "text"}, "use_beam_search": false})").prompts,
              ElementsAre(Prompt("x")));
}

TEST(CompletionRequest, StreamOptions) {
  const CompletionRequest request = Parsed(
      R"({"prompt": "x", "stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": true}})");
  EXPECT_TRUE(request.stream && request.usage_at_end && request.usage_always);
}

TEST(CompletionRequest, ErrorsNameTheFieldAndTheRemedy) {
  const std::vector<RefusedFields> cases = {
      {R"("model": 1)", "model", "model is 1: give a string"},
      {R"("prompt": 1)", "prompt", "prompt is 1: give a string, an array of strings"},
      {R"("prompt": true)", "prompt", "is true"},
      {R"("prompt": {})", "prompt", "an object"},
      {R"("prompt": [])", "prompt", "an empty array"},
      {R"("prompt": null)", "prompt", "prompt is missing"},
      {R"("prompt": [1, "a"])", "prompt", "has a string as element 1"},
      {R"("prompt": [1, -1])", "prompt", "has -1 as element 1"},
      {R"("prompt": [1.5])", "prompt", "has 1.5 as element 0"},
      {R"("prompt": [2147483648])", "prompt", "has 2147483648 as element 0"},
      {R"("prompt": ["a", 1])", "prompt", "has 1 as element 1"},
      {R"("prompt": ["a", [1]])", "prompt", "has an array as element 1"},
      {R"("prompt": [[1], "a"])", "prompt", "has a string as element 1"},
      {R"("prompt": [[1], [null]])", "prompt", "has null as element 0"},
      {R"("prompt": [{}])", "prompt", "an object as element 0"},
      {R"("max_tokens": 0)", "max_tokens", "max_tokens is 0: give an integer from 1"},
      {R"("max_tokens": -5)", "max_tokens", "max_tokens is -5"},
      {R"("max_tokens": "16")", "max_tokens", "max_tokens is a string: give an integer"},
      {R"("max_tokens": 1.5)", "max_tokens", "max_tokens is 1.5: give an integer"},
      {R"("max_tokens": 18446744073709551615)", "max_tokens", "max_tokens is 18446744073709551615"},
      {R"("min_tokens": 20)", "min_tokens", "more than max_tokens, 16"},
      {R"("temperature": "hot")", "temperature", "give a number"},
      {R"("temperature": -1)", "temperature", "temperature is -1: give a number from 0"},
      {R"("top_p": 0)", "top_p", "top_p is 0: give a number in (0, 1]"},
      {R"("top_p": 1.1)", "top_p", "top_p is 1.1"},
      {R"("top_k": -2)", "top_k", "top_k is -2"},
      {R"("min_p": 2)", "min_p", "min_p is 2"},
      {R"("typical_p": 0)", "typical_p", "typical_p is 0"},
      {R"("repetition_penalty": 0)", "repetition_penalty", "repetition_penalty is 0"},
      {R"("repetition_penalty": 1e40)", "repetition_penalty", "a number from 0.01 to 100"},
      {R"("presence_penalty": 101)", "presence_penalty", "presence_penalty is 101"},
      {R"("frequency_penalty": -101)", "frequency_penalty", "frequency_penalty is -101"},
      {R"("n": 0)", "n", "n is 0: give an integer from 1 to 128"},
      {R"("n": 129)", "n", "n is 129"},
      {R"("n": 3, "best_of": 2)", "best_of", "less than n, 3"},
      {R"("best_of": 2, "stream": true)", "best_of", "leave out stream, or best_of"},
      {R"("vote": 3)", "vote", "give a string"},
      {R"("vote": "")", "vote", "vote is empty: give a regular expression"},
      {R"("vote": "(")", "vote", "vote \"(\" is no regular expression"},
      {R"("vote": "x", "stream": true)", "vote", "leave out stream, or vote"},
      {R"("vote": "x", "best_of": 4)", "vote", "give one of them"},
      {R"("stream": 1)", "stream", "give true or false"},
      {R"("stream_options": {})", "stream_options", "needs \"stream\": true"},
      {R"("stream": true, "stream_options": [])", "stream_options", "give an object"},
      {R"("stream": true, "stream_options": {"include_usage": 1})", "stream_options.include_usage", "true or false"},
      {R"("stop": 1)", "stop", "give a string or an array"},
      {R"("stop": ["a", 1])", "stop", "give a string or an array"},
      {R"("stop": "")", "stop", "empty string"},
      {R"("stop": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])", "stop",
       "16 at most"},
      {R"("stop_token_ids": 3)", "stop_token_ids", "give an array"},
      {R"("stop_token_ids": ["3"])", "stop_token_ids", "has a string as element 0"},
      {R"("logprobs": true)", "logprobs", "logprobs is true: give an integer"},
      {R"("logprobs": 21)", "logprobs", "from 0 to 20"},
      {R"("logprobs": 0, "echo": true)", "echo", "photon score"},
      {R"("echo": "yes")", "echo", "give true or false"},
      {R"("logit_bias": [])", "logit_bias", "as in {\"42\": -100}"},
      {R"("logit_bias": {"a": 1})", "logit_bias", "the key \"a\""},
      {R"("logit_bias": {"-1": 1})", "logit_bias", "the key \"-1\""},
      {R"("logit_bias": {"1": "x"})", "logit_bias", "has a string for token 1"},
      {R"("logit_bias": {"1": 101})", "logit_bias", "from -100 to 100"},
      {R"("seed": 1.5)", "seed", "give an integer"},
      {R"("user": 1)", "user", "give a string"},
      {R"("suffix": "end")", "suffix", "not supported"},
      {R"("prompt_logprobs": 1)", "prompt_logprobs", "not supported"},
      {R"("use_beam_search": true)", "use_beam_search", "not supported"},
      {R"("truncate_prompt_tokens": 5)", "truncate_prompt_tokens", "not supported"},
      {R"("include_stop_str_in_output": true)", "include_stop_str_in_output", "not supported"},
      {R"("skip_special_tokens": false)", "skip_special_tokens", "can't be anything but true"},
      {R"("allowed_token_ids": [])", "allowed_token_ids", "at least one token id"},
      {R"("allowed_token_ids": 3)", "allowed_token_ids", "give an array"},
      {R"("allowed_token_ids": [-3])", "allowed_token_ids", "has -3 as element 0"},
      {R"("bad_words": "x")", "bad_words", "give an array of strings"},
      {R"("bad_words": ["x", 1])", "bad_words", "give an array of strings"},
      {R"("response_format": {"type": "json_object"})", "response_format", "not supported"},
      {R"("mode": "fast")", "mode", "mode is \"fast\": give hier, hier-parallel or rec"},
      {R"("mode": 1)", "mode", "give a string"},
      {R"("ignore_eos": 0)", "ignore_eos", "give true or false"},
      {R"("return_token_ids": "x")", "return_token_ids", "give true or false"},
  };
  ExpectRefusals(cases, [](const std::string& fields) {
    // Of a field that is there twice, the last counts.
    return ParseCompletionRequest(absl::StrCat(R"({"prompt": "x", )", fields, "}"));
  });
}

// Each of which would be compared with all before it.
std::string ManyFields() {
  std::string fields = R"("prompt": "x")";
  for (int i = 0; i < 400'000; ++i) absl::StrAppend(&fields, ",\"", i, "\":0");
  return fields;
}

TEST(CompletionRequest, BodiesThatAreNoJsonObject) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "it ends too early"},
      {R"({"prompt": "x)", "it ends too early"},
      {R"({"prompt": x})", "something is wrong at byte 12"},
      {"{\"prompt\": \"caf\xe9\"}", "byte 16 is not UTF-8"},
      {R"({"prompt": "\ud800"})", "wrong at byte"},
      {R"({"prompt": "x", "temperature": 1e999})", "a number beyond 1e308"},
      {"[1]", "the body is an array"},
      {"null", "the body is null"},
      {"1", "the body is 1"},
      {std::string(100000, '['), "the body nests deeper than 256 levels"},
      {absl::StrCat("{", ManyFields(), "}"), "the body has more than 16384 fields"},
  };
  for (const auto& [body, message] : cases) {
    const ApiError error = Refused(ParseCompletionRequest, body);
    EXPECT_EQ(error.code, "invalid_json");
    EXPECT_THAT(error.message, HasSubstr(message)) << body.substr(0, 100);
  }
  ExpectGoodExample(ParseCompletionRequest);
}

// Bytes of a good request, some of them replaced: it is read, or there is an error that says why.
TEST(CompletionRequest, SurvivesAnyBytes) {
  const std::string good =
      R"({"model":"m","prompt":[[1,2],[3]],"max_tokens":4,"stop":["a"],"logit_bias":{"1":2.5},"stream":true,)"
      R"("stream_options":{"include_usage":true},"temperature":0.5,"mode":"rec","seed":7,"n":2,"logprobs":3})";
  const Philox random(1, 2);
  uint64_t at = 0;
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string body = good;
    const int changes = 1 + static_cast<int>(random.Uniform(at++) * 4);
    for (int change = 0; change < changes; ++change) {
      const auto place = static_cast<size_t>(random.Uniform(at++) * static_cast<double>(body.size()));
      constexpr absl::string_view kBytes = "{}[]\",:0123456789-.eEtfn \x80\xff\\u\n";
      const auto byte = static_cast<size_t>(random.Uniform(at++) * kBytes.size());
      if (random.Uniform(at++) < 0.3) {
        body.erase(place, 1 + byte);
      } else {
        body[place] = kBytes[byte];
      }
      if (body.empty()) break;
    }
    const auto parsed = ParseCompletionRequest(body);
    if (const auto* error = std::get_if<ApiError>(&parsed)) {
      ++refused;
      EXPECT_EQ(error->status, 400) << body;
      EXPECT_FALSE(error->message.empty()) << body;
      EXPECT_NO_THROW(nlohmann::json::parse(ErrorJson(*error))) << body;
    }
  }
  EXPECT_GT(refused, 2500);
}

}  // namespace
}  // namespace photon::testing
