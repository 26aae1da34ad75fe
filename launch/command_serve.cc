// photon serve
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "configs/chat_template.h"
#include "core/human.h"
#include "core/status.h"
#include "inference/chat_text.h"
#include "inference/engine/engine.h"
#include "inference/loaded_model.h"
#include "inference/server/cross_origin.h"
#include "inference/server/server.h"
#include "launch/commands.h"
#include "launch/engine_flags.h"
#include "launch/model_options.h"
#include "launch/stop_watch.h"

namespace photon {
namespace {

struct ServeArguments {
  std::string checkpoint, dtype, device, key_file, chat_file;
  std::vector<std::string> origins;
  double request_timeout = 0;
  ServerOptions server;
  EngineFlags engine;
};

// "runs/quickstart", "./runs/quickstart/": "quickstart".
std::string NameOf(const std::string& checkpoint) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::weakly_canonical(checkpoint, error);
  return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

// The file's template, or else the checkpoint's, if it has one.
absl::Status ChooseChat(const LoadedModel& loaded, ServeArguments* arguments) {
  if (arguments->server.chat.has_value()) {
    if (loaded.tokenizer() != nullptr) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "--chat-template: the model has no tokenizer, so it can't read messages; leave it out");
  }
  const DataConfig& data = loaded.manifest().config().data();
  if (!data.has_chat_template()) return absl::OkStatus();
  if (const absl::Status valid = ValidateChatTemplate(data.chat_template(), "data.chat_template."); !valid.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("checkpoint ", arguments->checkpoint, ": ", valid.message(),
                                                   ", or give another with --chat-template"));
  }
  arguments->server.chat = data.chat_template();
  return absl::OkStatus();
}

// Such a model reads the markers letter by letter. A template that comes with it may be meant so.
void WarnOfUnknownMarkers(const ServeArguments& arguments, const LoadedModel& loaded) {
  if (arguments.chat_file.empty()) return;
  for (const std::string& marker : MarkersWithoutToken(*arguments.server.chat, *loaded.tokenizer())) {
    std::cerr << absl::StrCat("warning: ", arguments.chat_file, " has ", marker,
                              ", and the model's tokenizer no token for it: the model was hardly trained on chats of "
                              "this form (configs/chat/plain.textproto is for models of text alone)\n");
  }
}

// Each connection is an open file, of which many systems give a program 1,024 unless it asks for more.
void AskForFiles(int64_t connections) {
  constexpr rlim_t kOthers = 512;  // connections that are turned away, the model's files, libraries'
  rlimit limit = {};
  const rlim_t wanted = static_cast<rlim_t>(connections) + kOthers;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted) return;
  std::cerr << absl::StrCat("warning: --max-connections is ", connections, ", and this process may have ",
                            limit.rlim_max, " files and connections open: raise `ulimit -Hn`, or give fewer\n");
}

void WarnOfNullOrigin(const std::vector<std::string>& origins) {
  if (std::find(origins.begin(), origins.end(), "null") == origins.end()) return;
  std::cerr << "warning: --allow-origin null lets more pages in than those of local files: any site can put one into a "
               "sandboxed frame, whose origin is null too\n";
}

absl::Status RunServe(ServeArguments arguments) {
  StopWatch stops;
  if (arguments.server.model_name.empty()) arguments.server.model_name = NameOf(arguments.checkpoint);
  if (!arguments.key_file.empty()) {
    PHOTON_ASSIGN_OR_RETURN(arguments.server.keys, ApiKeys::FromFile(arguments.key_file));
  }
  WarnOfNullOrigin(arguments.origins);
  arguments.server.origins = CrossOrigin(arguments.origins);
  if (!arguments.chat_file.empty()) {
    PHOTON_ASSIGN_OR_RETURN(arguments.server.chat, LoadChatTemplate(arguments.chat_file));
  }
  if (arguments.request_timeout > 0) arguments.server.limits.time = absl::Seconds(arguments.request_timeout);
  PHOTON_ASSIGN_OR_RETURN(const EngineOptions options, Resolve(arguments.engine));
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<OpenedDevice> device, OpenDevice(arguments.device, /*check=*/false));
  PHOTON_ASSIGN_OR_RETURN(const auto loaded,
                          LoadedModel::Load(arguments.checkpoint, ComputeType(arguments.dtype), *device));
  PHOTON_RETURN_IF_ERROR(CheckStateMemory(options, loaded->decoder(), *device));
  PHOTON_RETURN_IF_ERROR(ChooseChat(*loaded, &arguments));
  WarnOfUnknownMarkers(arguments, *loaded);
  SetBatchInvariant(arguments.engine, arguments.dtype, *loaded);
  AskForFiles(arguments.server.http.max_connections);
  Engine engine(loaded->decoder(), loaded->tokenizer(), options);
  PHOTON_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Start(engine, arguments.server));
  const std::string& host = arguments.server.http.host;
  const bool v6 = absl::StrContains(host, ':');
  std::cerr << absl::StrCat("serving ", arguments.server.model_name, " on http://", v6 ? "[" : "", host, v6 ? "]" : "",
                            ":", server->port(), " (", HumanBytes(options.state_bytes), " for states)\n")
            << std::flush;
  stops.Watch(server.get());
  const absl::Cleanup unwatch = [&] { stops.Watch(nullptr); };  // an exception too ends the server before `stops`
  server->Run();
  return absl::OkStatus();
}

void AddHttpOptions(CLI::App& command, ServeArguments* a) {
  HttpServerOptions& http = a->server.http;
  command.add_option("--host", http.host, "Address to listen on; 0.0.0.0: all of this machine's")
      ->capture_default_str();
  command.add_option("--port", http.port, "0: a free one")->check(Between(0, 65535))->capture_default_str();
  command.add_option("--api-keys", a->key_file, "FILE with the keys that requests must carry, one a line");
  command
      .add_option("--allow-origin", a->origins,
                  "ORIGIN whose pages browsers let use the server, such as https://example.org; may be given several "
                  "times; *: any page")
      ->allow_extra_args(false)
      ->check(CLI::Validator([](const std::string& text) { return std::string(ValidateOrigin(text).message()); }, ""));
  command.add_option("--model-name", a->server.model_name,
                     "What requests call the model; unless given, the folder's name");
  command.add_option("--chat-template", a->chat_file,
                     "FILE with the texts around a conversation's messages, in place of the checkpoint's");
  command.add_option("--max-connections", http.max_connections, "At once, each with a thread")
      ->check(Between(1, 10000))
      ->capture_default_str();
  command.add_option("--max-body-bytes", http.max_body_bytes, "Of one request, as in 4MiB")
      ->transform(Bytes())
      ->default_str("4MiB");
}

void AddLimits(CLI::App& command, ServeArguments* a) {
  command.add_option("--max-waiting", a->engine.options.max_waiting, "Requests in the queue; one more gets 429")
      ->check(AtLeast(1))
      ->capture_default_str();
  command.add_option("--max-prompt-tokens", a->server.limits.prompt_tokens, "Of one prompt; 0: as the context allows")
      ->check(AtLeast(0))
      ->capture_default_str();
  command
      .add_option("--request-timeout", a->request_timeout, "Seconds that a request may take, waiting included; 0: any")
      ->check(NotNegative())
      ->capture_default_str();
}

}  // namespace

void AddServeCommand(CLI::App& app, Run* chosen) {
  const auto a = std::make_shared<ServeArguments>();
  CLI::App& command =
      *AddCommand(app, "serve", "Serve a model over HTTP, as OpenAI's API does", chosen, [a] { return RunServe(*a); });
  AddCheckpointOption(command, &a->checkpoint);
  AddHttpOptions(command, a.get());
  AddLimits(command, a.get());
  AddEngineFlags(command, &a->engine);
  AddDtypeOption(command, &a->dtype);
  AddDeviceOptions(command, &a->device);
}

}  // namespace photon
