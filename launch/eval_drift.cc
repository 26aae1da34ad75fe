#include "launch/eval_drift.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/file.h"
#include "core/progress.h"
#include "core/status.h"
#include "inference/prompt_text.h"
#include "inference/score.h"
#include "launch/token_json.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<std::vector<int32_t>> EncodeFile(const LoadedModel& loaded, const std::string& path) {
  PHOTON_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, "text"));
  return EncodeWithBos(*loaded.tokenizer(), text);
}

// Adds the stretches of one text, `each` tokens long.
absl::Status AddStretches(const std::vector<int32_t>& ids, const std::string& path, int64_t each,
                          const EvalDriftOptions& options, std::vector<std::vector<int32_t>>* sequences) {
  const int64_t wanted = each * options.sequences;
  if (static_cast<int64_t>(ids.size()) < wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": holds ", ids.size(), " tokens, and ", options.sequences, " x (", options.prefix,
                     " of --prefix + ", each - options.prefix, " of --lengths) = ", wanted,
                     " are needed: give a longer text, shorter --lengths, a shorter --prefix or fewer --sequences"));
  }
  for (int64_t i = 0; i < options.sequences; ++i) {
    sequences->emplace_back(ids.begin() + i * each, ids.begin() + (i + 1) * each);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::vector<int32_t>>> Sequences(const LoadedModel& loaded, int64_t each,
                                                            const EvalDriftOptions& options) {
  if (!options.texts.empty() && loaded.tokenizer() == nullptr) {
    return absl::FailedPreconditionError("--text: the checkpoint carries no tokenizer; give ids with --tokens");
  }
  std::vector<std::vector<int32_t>> sequences;
  if (!options.tokens.empty()) {
    PHOTON_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadTokenJson(options.tokens));
    PHOTON_RETURN_IF_ERROR(AddStretches(ids, options.tokens, each, options, &sequences));
  }
  for (const std::string& text : options.texts) {
    PHOTON_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, EncodeFile(loaded, text));
    PHOTON_RETURN_IF_ERROR(AddStretches(ids, text, each, options, &sequences));
  }
  return sequences;
}

Json StretchJson(const eval::Stretch& stretch) {
  return {{"from", stretch.from},
          {"to", stretch.to},
          {"tokens", stretch.tokens},
          {"hier_log_likelihood", stretch.exact_log_likelihood},
          {"log_likelihood", stretch.other_log_likelihood},
          {"top1_agreement", stretch.agreement},
          {"kl", stretch.divergence}};
}

void AppendRow(const eval::Stretch& stretch, std::string* table) {
  absl::StrAppendFormat(table, "%-15s %9d %10.4f %20.4f %10.4f %10.4f\n", absl::StrCat(stretch.from, "-", stretch.to),
                        stretch.tokens, stretch.exact_log_likelihood, stretch.other_log_likelihood, stretch.agreement,
                        stretch.divergence);
}

}  // namespace

absl::StatusOr<eval::Drift> EvaluateDrift(const LoadedModel& loaded, const EvalDriftOptions& options) {
  if (loaded.model().levels() < 2) {
    return absl::InvalidArgumentError(
        "--drift: all modes are hier for a model of fewer than two levels; there is nothing to measure");
  }
  const absl::Status valid =
      ValidateScoring({.mode = GenerationMode::kRec, .exact_prefix = options.prefix}, loaded.model().config());
  if (!valid.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--drift: ", absl::StrReplaceAll(valid.message(), {{"exact-prefix", "--prefix"}})));
  }
  std::vector<int64_t> lengths = options.lengths;
  std::sort(lengths.begin(), lengths.end());
  const int64_t each = options.prefix + lengths.back();
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::vector<int32_t>> sequences, Sequences(loaded, each, options));
  const int64_t all = each * static_cast<int64_t>(sequences.size());
  ProgressLine progress("drift", /*shown=*/true, 0, ProgressLine::Unit::kThings);
  return eval::MeasureDrift(loaded.context(), loaded.model(), sequences,
                            {.mode = options.mode, .prefix = options.prefix, .lengths = lengths},
                            [&](int64_t tokens) { progress.Update(tokens, all); });
}

Json DriftJson(const eval::Drift& drift, const EvalDriftOptions& options) {
  Json json;
  json["mode"] = Name(options.mode);
  json["prefix"] = options.prefix;
  json["sequences"] = options.sequences;
  for (const eval::Stretch& stretch : drift.buckets) json["buckets"].push_back(StretchJson(stretch));
  for (const eval::Stretch& stretch : drift.lengths) json["lengths"].push_back(StretchJson(stretch));
  return json;
}

std::string DriftTable(const eval::Drift& drift, const EvalDriftOptions& options) {
  const std::string of_mode = absl::StrCat("log p ", Name(options.mode));
  std::string table = absl::StrFormat("%-15s %9s %10s %20s %10s %10s\n", "distance", "tokens", "log p hier", of_mode,
                                      "agreement", "KL");
  for (const eval::Stretch& stretch : drift.buckets) AppendRow(stretch, &table);
  absl::StrAppend(&table, "\n");
  for (const eval::Stretch& stretch : drift.lengths) AppendRow(stretch, &table);
  return table;
}

absl::Status DrawDrift(const eval::Drift& drift, const EvalDriftOptions& options, const WantedPicture& picture) {
  const absl::string_view mode = Name(options.mode);
  std::string data;
  for (const eval::Stretch& stretch : drift.buckets) {  // in the middle of a bucket, as the axis has it
    absl::StrAppend(&data, std::sqrt(static_cast<double>(stretch.from) * static_cast<double>(stretch.to)), " ",
                    stretch.exact_log_likelihood, " ", stretch.other_log_likelihood, " ", stretch.agreement, " ",
                    stretch.divergence, "\n");
  }
  const std::string commands = absl::StrCat(
      "$drift << E\n", data,
      "E\nset logscale x 4\nset grid\nset xlabel 'distance from the exact prefix, tokens'\nset multiplot layout 2,1\n"
      "set ylabel 'log-likelihood, nats per token'\n"
      "plot $drift using 1:2 with linespoints lw 2 pt 7 lc rgb '#7aa6d8' title 'hier', "
      "$drift using 1:3 with linespoints lw 2 pt 7 lc rgb '#c0392b' title '",
      mode,
      "'\n"
      "set ylabel 'agreement; KL, nats'\n"
      "plot $drift using 1:4 with linespoints lw 2 pt 7 lc rgb '#555555' title 'top-1 agreement', "
      "$drift using 1:5 with linespoints lw 2 pt 7 lc rgb '#8e6bb0' title 'KL(hier || ",
      mode, ")'\nunset multiplot\n");
  return picture.Draw(960, 720, commands);
}

}  // namespace photon
