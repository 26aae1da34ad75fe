#include "inference/server/server.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/status.h"
#include "core/steady_time.h"
#include "inference/chat_text.h"
#include "inference/server/chat_request.h"
#include "inference/server/json_fields.h"
#include "inference/server/metrics.h"
#include "inference/server/page.h"
#include "inference/server/routes.h"

namespace photon {
namespace {

std::string RandomId(const char* prefix) {
  std::random_device device;
  return absl::StrFormat("%s-%08x%08x%08x%08x", prefix, device(), device(), device(), device());
}

// Those in which the model differs.
Json ModesOf(const ModelConfig& config) {
  Json modes = Json::array();
  for (const GenerationMode mode : DistinctModes(config)) modes.push_back(std::string(Name(mode)));
  return modes;
}

class EngineServer : public Server, public HttpHandler {
 public:
  EngineServer(Engine& engine, const ServerOptions& options)
      : engine_(engine), options_(options), started_(absl::ToUnixSeconds(absl::Now())) {}

  absl::Status Listen() {
    if (options_.chat.has_value() && engine_.tokenizer() != nullptr) {
      PHOTON_ASSIGN_OR_RETURN(StopOptions ends, ReplyEnds(*options_.chat, *engine_.tokenizer()));
      chat_ = ChatFormat{*options_.chat, std::move(ends)};
    }
    absl::StatusOr<std::unique_ptr<HttpServer>> http = HttpServer::Listen(options_.http, *this);
    if (!http.ok()) return http.status();
    http_ = *std::move(http);
    http_->Accept();  // only now: handlers ask it
    return absl::OkStatus();
  }

  int port() const override { return http_->port(); }
  void Drain() override { draining_ = true; }
  void End() override { ended_ = true; }

  void Run() override {
    constexpr absl::Duration kLookEvery = absl::Milliseconds(20);  // at flags and the last responses
    constexpr absl::Duration kLastWords = absl::Seconds(1);
    // For reading what had come before the end was asked for.
    constexpr absl::Duration kGrace = absl::Seconds(1);
    absl::Time grace_end = absl::InfiniteFuture();
    while (!ended_) {
      const bool worked = engine_.Step();
      metrics_.Stepped(SteadyNow(), engine_.stats().generated_tokens);
      if (worked) continue;
      if (draining_) {
        http_->KeepNoneAlive();
        grace_end = std::min(grace_end, SteadyNow() + kGrace);
        const bool unread = http_->HasInput() && SteadyNow() < grace_end;
        if (!unread && http_->busy() == 0) break;
      }
      engine_.WaitForWork(kLookEvery);
    }
    draining_ = true;
    engine_.Shutdown();
    // Whoever was cut off is told so, and why.
    http_->KeepNoneAlive();
    const absl::Time deadline = SteadyNow() + kLastWords;
    while (http_->busy() > 0 && SteadyNow() < deadline) absl::SleepFor(kLookEvery);
    http_->Stop();
  }

  std::optional<HttpResponse> Refuse(const HttpHead& head, bool crowded) override {
    if (FindRoute(head.path).has_value()) {
      if (auto preflight = options_.origins.AnswerPreflight(head); preflight.has_value()) return preflight;
    }
    return RefuseByHead(head, options_.keys, {options_.http.max_body_bytes, draining_, crowded});
  }

  HttpResponse Handle(const HttpHead& head, const std::string& body, const ClientGone& gone) override {
    switch (FindRoute(head.path).value()) {  // Refuse let no other path pass
      case Route::kPage:
        return {.content_type = "text/html; charset=utf-8", .body = kPage};
      case Route::kHealth:
        return {.body = R"({"status":"ok"})"};
      case Route::kReady:
        if (draining_) return ErrorResponse({503, "the server is shutting down", "", "shutting_down"});
        return {.body = R"({"status":"ready"})"};
      case Route::kMetrics:
        return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
                .body = metrics_.Text(engine_.stats(), http_->connections(), SteadyNow())};
      case Route::kModels:
        return {.body = Dump({{"object", "list"}, {"data", Json::array({Model()})}})};
      case Route::kModel:
        if (head.path.substr(sizeof("/v1/models/") - 1) == options_.model_name) return {.body = Dump(Model())};
        return ErrorResponse(NoSuchModel(head.path.substr(sizeof("/v1/models/") - 1)));
      case Route::kCompletions:
        return Complete(ParseCompletionRequest(body), gone);
      case Route::kChat:
        if (!chat_.has_value()) return ErrorResponse(NoChatTemplate());
        return Complete(ParseChatRequest(body, *chat_), gone);
    }
    return Error(500, "");
  }

  HttpResponse Error(int status, const std::string& message) override {
    if (status == 413) return ErrorResponse(BodyTooLarge(options_.http.max_body_bytes));
    if (status == kHeadTooLarge) {
      return ErrorResponse(
          {status, "the request line and headers are too long: send what is long in the body", "", "bad_request"});
    }
    if (status == 414) {
      return ErrorResponse({status, "the URL is longer than 8 KiB: send what is long in the body", "", "bad_request"});
    }
    if (status == 503) return ErrorResponse(TooManyConnections());
    if (status >= 500) {
      return ErrorResponse(
          {500, absl::StrCat("the server failed: ", message, "; please report it"), "", "internal_error"});
    }
    return ErrorResponse(
        {status, message.empty() ? "this is no request that HTTP/1.1 allows" : message, "", "bad_request"});
  }

  HttpHeaders HeadersFor(const HttpHead& head) override { return options_.origins.HeadersFor(head.origin); }

  void Done(int status) override { metrics_.Responded(status); }

 private:
  Json Model() const {
    const int64_t context = engine_.options().max_context;
    return {{"id", options_.model_name},
            {"object", "model"},
            {"created", started_},
            {"owned_by", "photon"},
            {"max_model_len", context > 0 ? Json(context) : Json()},
            {"modes", ModesOf(engine_.model().config())},
            {"has_tokenizer", engine_.tokenizer() != nullptr},
            {"has_chat_template", chat_.has_value()}};
  }

  ApiError NoSuchModel(const std::string& name) const {
    return {404, absl::StrCat("there is no model ", name.substr(0, 100), "; this server has ", options_.model_name),
            "model", "model_not_found"};
  }

  ApiError NoChatTemplate() const {
    return {
        400,
        engine_.tokenizer() == nullptr
            ? "the model has no tokenizer, so it can't read messages: send token ids to /v1/completions as prompt"
            : "the model has no chat template. Start the server with --chat-template FILE, or train with "
              "data.chat_template set; or write the conversation as a text and send that to /v1/completions as prompt",
        "messages", "no_chat_template"};
  }

  HttpResponse Complete(std::variant<CompletionRequest, ApiError> parsed, const ClientGone& gone) {
    if (const auto* error = std::get_if<ApiError>(&parsed)) return ErrorResponse(*error);
    CompletionRequest& request = std::get<CompletionRequest>(parsed);
    if (!request.model.empty() && request.model != options_.model_name)
      return ErrorResponse(NoSuchModel(request.model));
    CompletionHead completion{RandomId(request.reply_role.empty() ? "cmpl" : "chatcmpl"),
                              absl::ToUnixSeconds(absl::Now()), options_.model_name, request.reply_role};
    Completion::Result started =
        Completion::Start(engine_, std::move(request), options_.limits, std::move(completion), gone, &metrics_);
    if (const auto* error = std::get_if<ApiError>(&started)) return ErrorResponse(*error);
    return Completion::Answer(std::get<std::unique_ptr<Completion>>(std::move(started)));
  }

  Engine& engine_;
  const ServerOptions options_;
  const int64_t started_;
  std::optional<ChatFormat> chat_;
  Metrics metrics_;
  std::atomic<bool> draining_ = false, ended_ = false;
  std::unique_ptr<HttpServer> http_;  // the last: its threads use all of the above
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(Engine& engine, const ServerOptions& options) {
  auto server = std::make_unique<EngineServer>(engine, options);
  if (const absl::Status listening = server->Listen(); !listening.ok()) return listening;
  return server;
}

}  // namespace photon
