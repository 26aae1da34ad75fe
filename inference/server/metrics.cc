#include "inference/server/metrics.h"

#include "absl/strings/str_cat.h"

namespace photon {
namespace {

constexpr absl::Duration kWindow = absl::Seconds(10), kSpacing = absl::Milliseconds(200);

std::string Header(const std::string& name, const char* type, const char* help) {
  return absl::StrCat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

template <typename T>
std::string Single(const std::string& name, const char* type, const char* help, T value) {
  return absl::StrCat(Header(name, type, help), name, " ", value, "\n");
}

std::string EngineText(const EngineStats& engine) {
  std::string text = absl::StrCat(
      Single("photon_requests_waiting", "gauge", "Requests in the queue.", engine.waiting),
      Single("photon_sequences_running", "gauge", "Continuations being written, or whose prompt is read.",
             engine.running),
      Single("photon_reserved_bytes", "gauge", "That all that runs may come to hold.", engine.reserved_bytes),
      Header("photon_state_bytes", "gauge", "Keys and values held, by encoder (flat models: of the stack)."));
  for (size_t i = 0; i < engine.level_bytes.size(); ++i) {
    absl::StrAppend(&text, "photon_state_bytes{level=\"", i + 1, "\"} ", engine.level_bytes[i], "\n");
  }
  absl::StrAppend(
      &text, Single("photon_window_bytes", "gauge", "Of local windows.", engine.window_bytes),
      Single("photon_prefix_bytes", "gauge", "Of prefixes kept for requests to come.", engine.prefix_bytes),
      Single("photon_prompt_tokens_total", "counter", "Tokens of prompts whose reading began.", engine.prompt_tokens),
      Single("photon_reused_prefix_tokens_total", "counter", "Of these, reused.", engine.reused_tokens),
      Single("photon_generated_tokens_total", "counter", "Tokens generated.", engine.generated_tokens),
      Single("photon_engine_steps_total", "counter", "Rounds of the engine.", engine.steps));
  return text;
}

}  // namespace

void Rate::Observe(absl::Time now, int64_t total) {
  while (samples_.size() > 1 && now - samples_[1].time > kWindow) samples_.pop_front();
  const bool close = samples_.size() > 1 && now - samples_[samples_.size() - 2].time < kSpacing;
  if (close) samples_.pop_back();
  samples_.push_back({now, total});
}

double Rate::PerSecond(absl::Time now) const {
  const Sample* oldest = nullptr;
  for (const Sample& sample : samples_) {
    if (oldest == nullptr || now - sample.time >= kWindow) oldest = &sample;
  }
  if (oldest == nullptr || now <= oldest->time) return 0;
  return static_cast<double>(samples_.back().total - oldest->total) / absl::ToDoubleSeconds(now - oldest->time);
}

void Metrics::FirstTokens(absl::Duration after) {
  absl::MutexLock lock(&mutex_);
  first_tokens_.Add(absl::ToDoubleSeconds(after));
}

void Metrics::NextTokens(absl::Duration after) {
  absl::MutexLock lock(&mutex_);
  next_tokens_.Add(absl::ToDoubleSeconds(after));
}

void Metrics::Answered(absl::Duration after) {
  absl::MutexLock lock(&mutex_);
  answers_.Add(absl::ToDoubleSeconds(after));
}

void Metrics::Responded(int status) {
  absl::MutexLock lock(&mutex_);
  ++responses_[status];
}

void Metrics::Stepped(absl::Time now, int64_t generated_tokens) {
  absl::MutexLock lock(&mutex_);
  generated_.Observe(now, generated_tokens);
}

std::string Metrics::Text(const EngineStats& engine, int64_t connections, absl::Time now) const {
  absl::MutexLock lock(&mutex_);
  const double rate = generated_.PerSecond(now);
  const double gib = static_cast<double>(engine.state_bytes()) / (int64_t{1} << 30);
  std::string text = EngineText(engine);
  absl::StrAppend(
      &text, Single("photon_tokens_per_second", "gauge", "Generated, over the last ten seconds.", rate),
      Single("photon_tokens_per_second_per_gib", "gauge", "The same, by GiB of state held now; 0 where none is.",
             gib > 0 ? rate / gib : 0),
      Single("photon_connections", "gauge", "Open connections.", connections),
      first_tokens_.Text("photon_time_to_first_token_seconds", "From a request to its first token."),
      next_tokens_.Text("photon_time_between_bursts_seconds", "Between a continuation's tokens that came together."),
      answers_.Text("photon_request_seconds", "From a request to the end of its answer, where it had no error."),
      Header("photon_requests_total", "counter", "Answers, by status code."));
  for (const auto& [status, count] : responses_) {
    absl::StrAppend(&text, "photon_requests_total{code=\"", status, "\"} ", count, "\n");
  }
  return text;
}

}  // namespace photon
