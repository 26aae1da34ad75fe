#include "inference/server/completion_response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "inference/option_error.h"

namespace photon {
namespace {

Continuation Ended(Finish finish, int32_t stop_token = -1, int stop_string = -1) {
  Continuation result;
  result.finish = finish;
  result.stop_token = stop_token;
  result.stop_string = stop_string;
  return result;
}

const CompletionHead kHead{"cmpl-1", 1700000000, "m"};

TEST(CompletionResponse, Whole) {
  CompletionChoice choice{0, "day", std::vector<int32_t>{3, 4}};
  SetFinish(Ended(Finish::kLength), {}, -1, &choice);
  EXPECT_EQ(
      CompletionJson(kHead, {&choice, 1}, UsageJson({.prompt_tokens = 5, .completion_tokens = 2, .reused_tokens = 4})),
      R"({"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"m","choices":[{"index":0,)"
      R"("text":"day","logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":[3,4]}],)"
      R"("usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,)"
      R"("prompt_tokens_details":{"cached_tokens":4}}})");
}

TEST(CompletionResponse, APieceOfAStream) {
  const CompletionChoice choice{1, " \"da\n"};
  EXPECT_EQ(ServerSentEvent(PieceJson(kHead, {&choice, 1}, Json())),
            "data: "
            R"({"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"m","choices":[{"index":1,)"
            R"("text":" \"da\n","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null})"
            "\n\n");
}

TEST(CompletionResponse, Chats) {
  CompletionHead head = kHead;
  head.reply_role = "assistant";
  const auto choices = [](const std::string& json) { return Json::parse(json)["choices"].dump(); };
  CompletionChoice choice{0, "day"};
  const std::string whole = CompletionJson(head, {&choice, 1}, Json());
  EXPECT_EQ(Json::parse(whole)["object"], "chat.completion");
  EXPECT_EQ(choices(whole), R"([{"index":0,"message":{"role":"assistant","content":"day"},"logprobs":null,)"
                            R"("finish_reason":null,"stop_reason":null}])");
  const std::string piece = PieceJson(head, {&choice, 1}, Json());
  EXPECT_EQ(Json::parse(piece)["object"], "chat.completion.chunk");
  EXPECT_EQ(Json::parse(piece)["choices"][0]["delta"].dump(), R"({"content":"day"})");
  choice = {.index = 0, .first = true};
  EXPECT_EQ(Json::parse(PieceJson(head, {&choice, 1}, Json()))["choices"][0]["delta"].dump(),
            R"({"role":"assistant","content":""})");
  choice = {};
  SetFinish(Ended(Finish::kLength), {}, -1, &choice);
  EXPECT_EQ(choices(PieceJson(head, {&choice, 1}, Json())),
            R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"length","stop_reason":null}])");
}

TEST(CompletionResponse, ReasonsToStop) {
  const StopOptions stop{.tokens = {7, 2}, .strings = {"a", "b"}};
  CompletionChoice choice;
  SetFinish(Ended(Finish::kStopString, -1, 1), stop, 2, &choice);
  EXPECT_EQ(choice.finish_reason, "stop");
  EXPECT_EQ(choice.stop_reason, "b");
  choice = {};
  SetFinish(Ended(Finish::kStopToken, 7), stop, 2, &choice);
  EXPECT_EQ(choice.stop_reason, 7);
  choice = {};
  SetFinish(Ended(Finish::kStopToken, 2), stop, 2, &choice);  // end-of-text
  EXPECT_EQ(choice.finish_reason, "stop");
  EXPECT_TRUE(choice.stop_reason.is_null());
}

TEST(CompletionResponse, LogprobsWithoutATokenizer) {
  LogprobsWriter writer(nullptr, {});
  const std::vector<Choice> choices = {{3, -1, {{5, -0.5}, {3, -1}}}, {4, -2, {}}};
  EXPECT_EQ(Dump(writer.Write(choices)),
            R"({"text_offset":[0,0],"token_logprobs":[-1.0,-2.0],"tokens":["token_id:3","token_id:4"],)"
            R"("top_logprobs":[{"token_id:5":-0.5,"token_id:3":-1.0},{"token_id:4":-2.0}]})");
}

TEST(CompletionResponse, LogprobsOfAChat) {
  LogprobsWriter writer(nullptr, {});
  const std::vector<Choice> choices = {{3, -1, {{5, -0.5}}}};
  EXPECT_EQ(Dump(writer.WriteContent(choices)),
            R"({"content":[{"token":"token_id:3","logprob":-1.0,"bytes":null,)"
            R"("top_logprobs":[{"token":"token_id:5","logprob":-0.5,"bytes":null}]}]})");
}

TEST(ApiErrors, AreOpenAIs) {
  EXPECT_EQ(ErrorJson({400, "n is 0", "n"}),
            R"({"error":{"message":"n is 0","type":"invalid_request_error","param":"n","code":null}})");
  EXPECT_EQ(
      ErrorJson({500, "broken \xff", "", "x"}),
      "{\"error\":{\"message\":\"broken \xEF\xBF\xBD\",\"type\":\"server_error\",\"param\":null,\"code\":\"x\"}}");
  const HttpResponse busy = ErrorResponse(ErrorOf(absl::ResourceExhaustedError("full")));
  EXPECT_EQ(busy.status, 429);
  EXPECT_THAT(busy.headers, ::testing::Contains(std::pair<std::string, std::string>("Retry-After", "1")));
}

TEST(ApiErrors, OptionsBecomeFields) {
  const ApiError error = ErrorOf(
      OptionError("max-new-tokens", "--max-new-tokens is 0: give 1 or more, or lower --top-k or --max-running"));
  EXPECT_EQ(error.message, "max_tokens is 0: give 1 or more, or lower top_k or --max-running");
  EXPECT_EQ(error.param, "max_tokens");
  const ApiError chat = ErrorOf(OptionError("prompt", "long: lower --max-new-tokens"),
                                {.prompt = "messages", .max_tokens = "max_completion_tokens"});
  EXPECT_EQ(chat.message, "long: lower max_completion_tokens");
  EXPECT_EQ(chat.param, "messages");
  EXPECT_EQ(ErrorOf(absl::InvalidArgumentError("n is too large")).param, "");  // words tell nothing
  EXPECT_EQ(ErrorOf(OptionError("prompt", "long", absl::StatusCode::kOutOfRange)).code, "context_length_exceeded");
  EXPECT_EQ(ErrorOf(absl::DataLossError("NaN")).status, 500);
  EXPECT_EQ(ErrorOf(absl::DeadlineExceededError("late")).status, 408);
  EXPECT_EQ(ErrorOf(absl::UnavailableError("ending")).status, 503);
}

}  // namespace
}  // namespace photon
