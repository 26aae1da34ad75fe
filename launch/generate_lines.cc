#include "launch/generate_lines.h"

#include <algorithm>
#include <deque>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "core/progress.h"
#include "core/status.h"
#include "inference/json_text.h"
#include "launch/generate_output.h"
#include "launch/json_lines.h"
#include "launch/line_errors.h"

namespace photon {
namespace {

// Lines that are read ahead, so that the engine is busy while the first of them is still at work.
int64_t MostAhead(const EngineOptions& engine) {
  constexpr int64_t kEachRunning = 4, kMost = 1 << 20;
  return std::min(engine.max_running, kMost / kEachRunning) * kEachRunning;
}

// All of them may wait at once.
EngineOptions WithRoomAhead(EngineOptions engine) {
  engine.max_waiting = MostAhead(engine);
  return engine;
}

// One line on its way.
struct PromptLine : RequestListener {
  JsonLine input;
  GenerateOptions options;
  std::vector<Continuation> results;
  std::optional<absl::Status> end;

  void OnTokens(int64_t, absl::Span<const int32_t>, absl::Span<const Choice>, absl::string_view) override {}
  void OnFinish(int64_t continuation, const Continuation& result) override { results[continuation] = result; }
  void OnEnd(const absl::Status& status) override { end = status; }
};

class Generating {
 public:
  Generating(const LoadedModel& loaded, const GenerateLinesOptions& options, JsonLines lines, std::ostream& out)
      : loaded_(loaded),
        options_(options),
        lines_(std::move(lines)),
        out_(out),
        engine_(loaded.decoder(), loaded.tokenizer(), WithRoomAhead(options.engine)),
        progress_("generate", /*shown=*/lines_.bytes() > 0) {}

  absl::Status Run() {
    while (!ended_ || !under_way_.empty()) {
      ReadAhead();
      engine_.Step();
      PHOTON_RETURN_IF_ERROR(WriteEnded());
    }
    errors_.TellSkipped();
    return errors_.failure();
  }

 private:
  // Waits for input only where nothing else is to be done.
  void ReadAhead() {
    const auto most = static_cast<size_t>(engine_.options().max_waiting);
    while (!ended_ && under_way_.size() < most && (under_way_.empty() || lines_.Ready())) {
      const auto line = std::make_shared<PromptLine>();
      const absl::StatusOr<bool> read = lines_.Next(&line->input);
      if (read.ok() && !*read) {
        ended_ = true;
        break;
      }
      absl::Status status = read.status();
      if (absl::IsDataLoss(status)) {
        errors_.BreakOff(status);
        ended_ = true;
        break;
      }
      if (status.ok()) status = Submit(line);
      if (status.ok()) {
        under_way_.push_back(line);
      } else if (!errors_.Pass(status)) {
        ended_ = true;  // after what stands before it
      }
    }
  }

  absl::Status Submit(const std::shared_ptr<PromptLine>& line) {
    const std::string at = lines_.At(line->input.number);
    WarnOfSettings(at, line->input);
    PHOTON_RETURN_IF_ERROR(EncodeLine(loaded_.tokenizer().get(), at, &line->input));
    line->options = options_.generate;
    // Lines that begin alike are to go on differently.
    line->options.sampling.seed += static_cast<uint64_t>(line->input.number - 1);
    line->results.resize(line->options.continuations);
    const auto id = engine_.Submit({.prompt = line->input.tokens, .options = line->options}, line);
    if (id.ok()) return absl::OkStatus();
    return absl::Status(id.status().code(), absl::StrCat(at, ": ", id.status().message()));
  }

  absl::Status WriteEnded() {
    while (!under_way_.empty() && under_way_.front()->end.has_value()) {
      const std::shared_ptr<PromptLine> line = under_way_.front();
      under_way_.pop_front();
      if (!line->end->ok()) {
        const std::string at = lines_.At(line->input.number);
        const absl::Status status(line->end->code(), absl::StrCat(at, ": ", line->end->message()));
        if (errors_.Pass(status)) continue;
        return errors_.failure();
      }
      Write(*line);
    }
    out_.flush();
    progress_.Update(written_, lines_.bytes());
    return out_.good() ? absl::OkStatus()
                       : absl::FailedPreconditionError("cannot write the texts: the output takes no more");
  }

  void Write(const PromptLine& line) {
    nlohmann::ordered_json json;
    if (!line.input.id.is_null()) json["id"] = line.input.id;
    json["line"] = line.input.number;
    json.update(GenerationJson(line.results, static_cast<int64_t>(line.input.tokens.size()), line.options,
                               options_.selection, loaded_.tokenizer().get()));
    out_ << Dump(json) << "\n";
    written_ = line.input.end;
  }

  // A line may carry whatever its owner likes, but what elsewhere would choose tokens is meant to.
  void WarnOfSettings(const std::string& at, const JsonLine& line) {
    constexpr absl::string_view kSettings[] = {
        "prompt",      "messages", "mode",     "max_tokens", "max_new_tokens", "max_completion_tokens",
        "temperature", "top_p",    "top_k",    "min_p",      "seed",           "n",
        "best_of",     "stop",     "logprobs", "logit_bias"};
    for (const std::string& name : line.others) {
      if (!absl::c_linear_search(kSettings, name) || !warned_.insert(name).second) continue;
      std::cerr << absl::StrCat("warning: ", at, ": \"", name,
                                "\" is passed over, here and further on: the command's options hold for all lines\n");
    }
  }

  const LoadedModel& loaded_;
  const GenerateLinesOptions& options_;
  JsonLines lines_;
  std::ostream& out_;
  Engine engine_;
  ProgressLine progress_;
  std::deque<std::shared_ptr<PromptLine>> under_way_;
  LineErrors errors_{options_.skip_errors};
  std::set<std::string> warned_;  // of fields
  int64_t written_ = 0;           // bytes of the input whose lines are done
  bool ended_ = false;
};

}  // namespace

absl::Status GenerateLines(const LoadedModel& loaded, const GenerateLinesOptions& options, std::ostream& out) {
  PHOTON_ASSIGN_OR_RETURN(JsonLines lines, JsonLines::Open(options.input));
  return Generating(loaded, options, std::move(lines), out).Run();
}

}  // namespace photon
