#include "launch/score_lines.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/human.h"
#include "core/progress.h"
#include "core/status.h"
#include "inference/json_text.h"
#include "inference/vocabulary.h"
#include "launch/json_lines.h"
#include "launch/line_errors.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

struct ScoredLine {
  JsonLine input;
  std::vector<double> log_probabilities = {};
};

Json ScoreJson(const ScoredLine& line, bool summary) {
  const double sum = std::accumulate(line.log_probabilities.begin(), line.log_probabilities.end(), 0.0);
  const auto scored = static_cast<double>(line.log_probabilities.size());
  Json json;
  if (!line.input.id.is_null()) json["id"] = line.input.id;
  json["line"] = line.input.number;
  json["tokens"] = line.input.tokens.size();
  json["scored"] = line.log_probabilities.size();
  json["sum_logprob"] = sum;
  json["perplexity"] = scored > 0 ? Json(std::exp(-sum / scored)) : Json();
  if (line.input.is_text) {
    const auto bytes = static_cast<double>(line.input.text.size());
    json["bytes"] = line.input.text.size();
    json["byte_perplexity"] = bytes > 0 ? Json(std::exp(-sum / bytes)) : Json();
  }
  if (!summary) json["logprobs"] = line.log_probabilities;
  return json;
}

class Scoring {
 public:
  Scoring(const LoadedModel& loaded, const ScoreLinesOptions& options, JsonLines lines, std::ostream& out)
      : loaded_(loaded),
        options_(options),
        lines_(std::move(lines)),
        out_(out),
        progress_("score", /*shown=*/lines_.bytes() > 0) {}

  absl::Status Run() {
    while (!ended_) {
      ReadWindow();
      PHOTON_RETURN_IF_ERROR(ScoreWindow());
    }
    errors_.TellSkipped();
    return absl::OkStatus();
  }

 private:
  // A few batches of lines, or a single one.
  void ReadWindow() {
    constexpr int64_t kBatches = 8, kLines = 256;
    window_.clear();
    int64_t tokens = 0;
    while (static_cast<int64_t>(window_.size()) < kLines && tokens <= kBatches * options_.batch_tokens) {
      ScoredLine line;
      const absl::StatusOr<bool> read = lines_.Next(&line.input);
      if (read.ok() && !*read) {
        ended_ = true;
        break;
      }
      if (absl::IsDataLoss(read.status())) {
        errors_.BreakOff(read.status());
        ended_ = true;
        break;
      }
      const absl::Status status = read.ok() ? Encode(line.input) : read.status();
      if (!status.ok()) {
        if (errors_.Pass(status)) continue;
        ended_ = true;  // after what stands before it
        break;
      }
      tokens += static_cast<int64_t>(line.input.tokens.size());
      window_.push_back(std::move(line));
    }
  }

  absl::Status Encode(JsonLine& line) const {
    const std::string at = lines_.At(line.number);
    PHOTON_RETURN_IF_ERROR(EncodeLine(loaded_.tokenizer().get(), at, &line));
    if (line.tokens.empty())
      return absl::InvalidArgumentError(absl::StrCat(at, ": holds no tokens; give at least one"));
    return CheckTokenIds(line.tokens, loaded_.model().config().vocab_size(), at);
  }

  // Lines of like length together, none padded by more than the shortest of its batch allows.
  absl::Status ScoreWindow() {
    std::vector<size_t> order(window_.size());
    std::iota(order.begin(), order.end(), 0);
    const auto length = [&](size_t i) { return window_[i].input.tokens.size(); };
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return length(a) > length(b); });
    for (size_t begin = 0; begin < order.size();) {
      const int64_t fit = options_.batch_tokens / static_cast<int64_t>(length(order[begin]));
      const size_t end = std::min<size_t>(order.size(), begin + std::max<int64_t>(fit, 1));
      PHOTON_RETURN_IF_ERROR(ScoreTogether(absl::MakeConstSpan(order).subspan(begin, end - begin)));
      begin = end;
    }
    for (const ScoredLine& line : window_) out_ << Dump(ScoreJson(line, options_.summary)) << "\n";
    out_.flush();
    if (!out_.good()) return absl::FailedPreconditionError("cannot write the scores: the output takes no more");
    return errors_.failure();
  }

  absl::Status ScoreTogether(absl::Span<const size_t> members) {
    std::vector<std::vector<int32_t>> sequences;
    for (const size_t i : members) sequences.push_back(window_[i].input.tokens);
    auto scores = ScoreBatch(loaded_.context(), loaded_.model(), sequences, options_.score);
    if (!scores.ok()) {
      const std::string at = lines_.At(window_[members.front()].input.number);
      const std::string others =
          members.size() > 1 ? absl::StrCat(" and ", members.size() - 1, " lines scored with it") : "";
      return absl::Status(scores.status().code(), absl::StrCat(at, others, ": ", scores.status().message()));
    }
    for (size_t k = 0; k < members.size(); ++k)
      window_[members[k]].log_probabilities = std::move((*scores)[k].log_probabilities);
    progress_.Update(lines_.bytes_read(), lines_.bytes());
    return absl::OkStatus();
  }

  const LoadedModel& loaded_;
  const ScoreLinesOptions& options_;
  JsonLines lines_;
  std::ostream& out_;
  ProgressLine progress_;
  std::vector<ScoredLine> window_;
  LineErrors errors_{options_.skip_errors};
  bool ended_ = false;
};

}  // namespace

absl::Status ScoreLines(const LoadedModel& loaded, const ScoreLinesOptions& options, std::ostream& out) {
  PHOTON_RETURN_IF_ERROR(ValidateScoring(options.score, loaded.model().config()));
  PHOTON_ASSIGN_OR_RETURN(JsonLines lines, JsonLines::Open(options.input));
  return Scoring(loaded, options, std::move(lines), out).Run();
}

}  // namespace photon
