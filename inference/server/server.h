// `photon serve`: OpenAI's HTTP interface to an engine (docs/serving.md).
//
// The engine runs on the thread that calls Run; each connection has one of its own, which submits its request and waits
// for what becomes of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "configs/data.pb.h"
#include "inference/engine/engine.h"
#include "inference/server/api_keys.h"
#include "inference/server/completion.h"
#include "inference/server/cross_origin.h"
#include "inference/server/http_server.h"

namespace photon {

struct ServerOptions {
  HttpServerOptions http;
  CompletionLimits limits;
  std::string model_name;
  ApiKeys keys;
  CrossOrigin origins = {};
  std::optional<ChatTemplate> chat = {};  // valid; unset: /v1/chat/completions refuses everything
};

class Server {
 public:
  // Listens from now on. The engine outlives the server. Errors: HttpServer::Listen's, ReplyEnds'
  // (inference/chat_text.h).
  static absl::StatusOr<std::unique_ptr<Server>> Start(Engine& engine, const ServerOptions& options);
  virtual ~Server() = default;

  virtual int port() const = 0;
  // Runs the engine on this thread until the server has drained, or was ended.
  virtual void Run() = 0;

  // Both only set a flag that Run looks at: any thread, and signal handlers.
  // What was asked for is answered, what comes from now on is refused (503).
  virtual void Drain() = 0;
  // What is being answered is broken off.
  virtual void End() = 0;
};

}  // namespace photon
