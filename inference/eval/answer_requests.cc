#include "inference/eval/answer_requests.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/status.h"

namespace photon::eval {
namespace {

Answer AnswerOf(const TokenRequest& request, const SequenceScores& scores) {
  Answer answer{.tokens = request.scored};
  for (const double value : scores.log_probabilities) answer.log_likelihood += value;
  for (const bool most_likely : scores.most_likely) answer.greedy = answer.greedy && most_likely;
  return answer;
}

}  // namespace

absl::StatusOr<std::vector<Answer>> AnswerRequests(const Context& context, const LanguageModel& model,
                                                   absl::Span<const TokenRequest> requests,
                                                   const AnswerOptions& options,
                                                   const std::function<void(int64_t done)>& progress) {
  const int64_t meta = ChunkProduct(model.config());
  const auto length = [&](size_t i) { return static_cast<int64_t>(requests[i].tokens.size()); };
  const auto exact_prefix = [&](size_t i) -> int64_t {
    if (options.mode != GenerationMode::kRec) return 0;
    if (options.exact_prefix >= 0) return options.exact_prefix;
    return (length(i) - requests[i].scored) / meta * meta;
  };
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::tuple(exact_prefix(a), -length(a)) < std::tuple(exact_prefix(b), -length(b));
  });

  std::vector<Answer> answers(requests.size());
  for (size_t begin = 0; begin < order.size();) {
    const size_t first = order[begin];
    const size_t fit = std::max<int64_t>(options.batch_tokens / length(first), 1);
    size_t end = begin;
    std::vector<ScoreRequest> batch;
    while (end < std::min(begin + fit, order.size()) && exact_prefix(order[end]) == exact_prefix(first)) {
      const TokenRequest& request = requests[order[end++]];
      batch.push_back({request.tokens, static_cast<int64_t>(request.tokens.size()) - request.scored});
    }
    const auto scores = ScoreBatch(context, model, batch, {.mode = options.mode, .exact_prefix = exact_prefix(first)});
    if (!scores.ok()) {
      const std::string others = batch.size() > 1 ? absl::StrCat(" and ", batch.size() - 1, " scored with it") : "";
      return absl::Status(scores.status().code(), absl::StrCat("request ", first, " (counted from 0)", others, ": ",
                                                               scores.status().message()));
    }
    for (size_t k = 0; k < batch.size(); ++k) {
      answers[order[begin + k]] = AnswerOf(requests[order[begin + k]], (*scores)[k]);
    }
    begin = end;
    if (progress) progress(static_cast<int64_t>(begin));
  }
  return answers;
}

}  // namespace photon::eval
