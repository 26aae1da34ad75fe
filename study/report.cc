#include "study/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/human.h"
#include "inference/json_text.h"

namespace photon::study {
namespace {

using Json = nlohmann::ordered_json;

// JSON knows no infinity: a loss that diverged, or a TPM over no memory.
Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json RunJson(const PlannedRun& run, const RunState& state, const Results& results) {
  Json json = {{"name", run.name},
               {"kind", std::string(Name(run.kind))},
               {"size", run.size.name},
               {"seed", run.seed},
               {"parameters", run.parameters},
               {"flops_per_token", run.step_flops / static_cast<double>(run.step_tokens)},
               {"steps", run.steps()},
               {"tokens", run.tokens()},
               {"training_flops", run.flops()},
               {"peak_lr", run.config.training().optimizer().peak_lr()},
               {"seconds", state.seconds},
               {"valid_loss", Number(state.valid_loss)},
               {"valid_tokens", state.valid_tokens}};
  if (results.bytes_per_token > 0) json["valid_bits_per_byte"] = Number(results.BitsPerByte(state.valid_loss));
  return json;
}

Json PointJson(const Point& point, const Results& results) {
  Json json = {{"kind", std::string(Name(point.kind))},
               {"size", point.size},
               {"mode", std::string(Name(point.mode))},
               {"parameters", point.parameters},
               {"loss", Number(point.loss())}};
  if (results.bytes_per_token > 0) json["bits_per_byte"] = Number(results.BitsPerByte(point.loss()));
  if (point.losses.size() > 1) {
    for (const double loss : point.losses) json["losses"].push_back(Number(loss));
  }
  json["tokens_per_s"] = point.speed.tokens_per_s;
  json["bytes_per_sequence"] = point.speed.bytes_per_sequence;
  json["tpm"] = Number(point.speed.tpm);
  json["speed_disturbance"] = point.speed.disturbance;
  return json;
}

// Tries of a model that took different times tell of other work on the machine; steady work beside all shows nowhere.
std::string SpeedNote(double disturbance) {
  return absl::StrFormat(
      "Speeds are the fastest of %d tries each; the slowest of a model took up to %.2f times as long. "
      "Where that is much, other work disturbed them: the same command on a quiet machine measures "
      "anew, and trains nothing again.",
      kSpeedTries, disturbance);
}

}  // namespace

double Point::loss() const {
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
}

double Results::Disturbance() const {
  double most = 1;
  for (const Point& point : points) most = std::max(most, point.speed.disturbance);
  return most;
}

double Results::BitsPerByte(double loss) const { return loss / std::log(2.0) / bytes_per_token; }

std::string PlanTable(const std::vector<PlannedRun>& runs, const std::vector<RunState>& states) {
  std::string table = absl::StrFormat("%-22s%12s%15s%8s%13s%11s  %s\n", "run", "parameters", "MFLOPs/token", "steps",
                                      "tokens", "FLOPs", "done");
  for (size_t i = 0; i < runs.size(); ++i) {
    const PlannedRun& run = runs[i];
    const std::string done = states[i].finished     ? absl::StrFormat("yes, loss %.4f", states[i].valid_loss)
                             : states[i].steps == 0 ? "no"
                                                    : absl::StrCat("to step ", states[i].steps);
    absl::StrAppendFormat(&table, "%-22s%12s%15.2f%8d%13s%11.3e  %s\n", run.name, HumanCount(run.parameters),
                          run.step_flops / static_cast<double>(run.step_tokens) / 1e6, run.steps(),
                          HumanCount(run.tokens()), run.flops(), done);
  }
  const double left = SecondsLeft(runs, states);
  absl::StrAppend(&table, "training left: ", left < 0 ? "unknown until a step was made" : HumanDuration(left), "\n");
  return table;
}

std::string ToJson(const Results& results) {
  const Options& options = results.options;
  Json runs = Json::array(), points = Json::array();
  for (size_t i = 0; i < results.runs.size(); ++i) runs.push_back(RunJson(results.runs[i], results.states[i], results));
  for (const Point& point : results.points) points.push_back(PointJson(point, results));
  Json json = {{"scale", options.scale.name},
               {"train", options.train},
               {"valid", options.valid},
               {"vocab_size", options.vocab_size},
               {"sequence_length", options.scale.sequence_length},
               {"batch_sequences", options.scale.batch_sequences},
               {"dtype", options.dtype},
               {"device", results.device},
               {"generation",
                {{"prompt", options.scale.sequence_length / 16},
                 {"tokens", options.scale.sequence_length},
                 {"batch", results.batch}}}};
  if (results.bytes_per_token > 0) json["bytes_per_token"] = results.bytes_per_token;
  json["runs"] = runs;
  json["points"] = points;
  return DumpIndented(json);
}

std::string ToMarkdown(const Results& results) {
  const Options& options = results.options;
  const int length = options.scale.sequence_length;
  std::string text = absl::StrFormat(
      "# Quality at equal cost\n\nScale %s; each model of a size is trained with the same floating-point operations. "
      "Losses are of the validation set; generation is %d tokens behind %d, %d sequences at once, %s, on %s.\n\n",
      options.scale.name, length, length / 16, results.batch, options.dtype, results.device);
  const bool bytes = results.bytes_per_token > 0;
  absl::StrAppend(&text, "| size | model | mode | parameters | loss, nats/token |", bytes ? " bits/byte |" : "",
                  " tokens/s | KiB/sequence | TPM |\n|---|---|---|---:|---:|", bytes ? "---:|" : "",
                  "---:|---:|---:|\n");
  for (const Point& point : results.points) {
    absl::StrAppendFormat(&text, "| %s | %s | `%s` | %s | %.4f |", point.size, std::string(Name(point.kind)),
                          std::string(Name(point.mode)), HumanCount(point.parameters), point.loss());
    if (bytes) absl::StrAppendFormat(&text, " %.4f |", results.BitsPerByte(point.loss()));
    absl::StrAppendFormat(&text, " %.0f | %.1f | %.1f |\n", point.speed.tokens_per_s,
                          point.speed.bytes_per_sequence / 1024, point.speed.tpm);
  }
  absl::StrAppend(&text, "\n", SpeedNote(results.Disturbance()),
                  "\n\n| run | FLOPs/token | steps | tokens | FLOPs | loss |\n|---|---:|---:|---:|---:|---:|\n");
  for (size_t i = 0; i < results.runs.size(); ++i) {
    const PlannedRun& run = results.runs[i];
    absl::StrAppendFormat(&text, "| %s | %.3e | %d | %s | %.3e | %.4f |\n", run.name,
                          run.step_flops / static_cast<double>(run.step_tokens), run.steps(), HumanCount(run.tokens()),
                          run.flops(), results.states[i].valid_loss);
  }
  return text;
}

}  // namespace photon::study
